"""Implementations of the ports; each package is the only one that uses its client library."""
