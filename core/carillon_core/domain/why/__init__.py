"""Explains what should have happened to a task at an instant, and what did: its spec as it was then, and the rows."""
