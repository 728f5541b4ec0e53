"""The pure heart: schedule calculus, gates, ``decide``. No clock, no client, no session, no log in here."""
