"""Who calls, what the caller may do, how often, and what is kept of it."""
