"""Alembic's entry: runs the migrations on the connection that :mod:`portcullis.audit.database` hands over.

The connection is inside a transaction already, so that a migration that fails leaves nothing behind.
"""

from alembic import context

from portcullis.audit.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
