"""Records the specs of tasks in the history, in the background."""
