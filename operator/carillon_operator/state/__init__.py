"""What the operator has seen, and what is to be looked at next."""
