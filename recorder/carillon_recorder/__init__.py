"""The recorder: runners report to it over HTTP, and it records in Postgres through a bounded pool of connections."""
