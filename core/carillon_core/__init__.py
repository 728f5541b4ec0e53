"""What every part of Carillon shares: resources, the pure domain, ports, adapters."""
