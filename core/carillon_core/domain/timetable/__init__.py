"""When slots are: schedules, cron expressions, and the clocks of time zones."""
