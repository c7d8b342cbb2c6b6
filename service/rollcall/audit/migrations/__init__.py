"""Alembic's scripts for the log's database, run by `store` when it is opened."""
