"""What is launched: the order of an execution, its Job, and the token of its runner."""
