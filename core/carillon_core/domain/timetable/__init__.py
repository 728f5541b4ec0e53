"""Computes slots: schedules, cron expressions, and the clocks of time zones."""
