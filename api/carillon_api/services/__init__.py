"""What an operation does that is more than one call of a port."""
