"""What Alembic runs around each migration: on the connection, and in the transaction, of whoever opens the database."""

from alembic import context

from addon.index.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # also on SQLite, where the driver is kept from committing before a CREATE TABLE
)
context.run_migrations()
