"""What every part of Carillon shares: resources, the pure domain, ports, adapters."""

__version__ = "0.1.0"
"""The release, which the project's metadata takes from here."""
