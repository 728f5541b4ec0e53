"""The stream of changes: one reader of each source for all viewers of a process."""
