"""Reports: computed from the history and the schedules. Pure."""
