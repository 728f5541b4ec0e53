"""The pure domain: schedules, gates and ``decide``. It uses no clock, client, session or log."""
