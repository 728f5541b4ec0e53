"""Prepares launches: the order of an execution, its Job, and its runner's token."""
