"""``make truth``: compares fire times with a simulated cron daemon, croniter and cronsim."""
