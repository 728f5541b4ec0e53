"""The proof of the calculus: fire times against a simulated cron daemon, croniter and cronsim. ``make truth``."""
