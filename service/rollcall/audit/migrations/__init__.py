"""Alembic's scripts for the log's database, run by `store` when it is opened."""

from __future__ import annotations

from alembic import op

_REFUSE = "rollcall_refuse"


def make_refusal() -> None:
    """On PostgreSQL, make the function that triggers refuse a change by."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE FUNCTION {_REFUSE}() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME USING ERRCODE = '23000'; END $$"
        )


def drop_refusal() -> None:
    """Take that function away, after the last table that uses it."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP FUNCTION {_REFUSE}()")


def protect(table: str) -> None:
    """Have the database refuse to change or remove rows of a table."""
    for act in ("UPDATE", "DELETE"):
        if op.get_bind().dialect.name == "postgresql":
            op.execute(
                f"CREATE OR REPLACE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {_REFUSE}()"
            )
        else:
            op.execute(
                f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed'); END"
            )
