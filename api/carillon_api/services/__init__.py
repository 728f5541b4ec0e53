"""The operations that take more than one call of a port."""
