"""Recording an execution: the port and its encoding. Standard library only, because each start of a runner pays."""
