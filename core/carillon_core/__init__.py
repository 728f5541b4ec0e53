"""The code that all parts of Carillon share: resources, the pure domain, ports and adapters."""

__version__ = "0.1.0"
"""The version of the release; the project's metadata reads it."""
