"""The adapter for Postgres: tables, migrations and ports. Import the module that you need."""
