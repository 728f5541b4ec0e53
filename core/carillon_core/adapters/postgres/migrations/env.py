"""Runs the migrations on the connection that ``migrate`` passes, within its transaction.

Alembic executes this module for every command. It reads no ini file and leaves
logging alone: the process that migrates has set both up.
"""

from alembic import context

from carillon_core.adapters.postgres.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
