"""The processes that a plan runs: operators and a Postgres server for each lane."""
