"""The history of the audit store's tables (Alembic); run by the package itself, forward only."""
