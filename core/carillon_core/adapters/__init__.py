"""The implementations of the ports: each package is the only place that knows its thing."""
