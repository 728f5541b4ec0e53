"""The database adapter: tables, migrations and the ports on Postgres. Import the module that you need."""
