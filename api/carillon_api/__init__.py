"""The REST facade: translates calls into operations on ScheduledTasks, and reads the history."""
