"""The history in Postgres: tables, migrations, and the two ports on it. Import the module that you need."""
