"""The commands over a log: verify it, show a record, export records. They read the log's directory; no server is asked.

Imports wait for their command, so that help is instant.
"""
# ruff: noqa: PLC0415, T201 - commands print their answers

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rollcall.audit import verify
from rollcall.ending import DONE


class AuditError(Exception):
    """What was asked for cannot be done; the message says why."""


def audit_options(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Declare the commands over a directory; return where others are declared."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    text = "verify a log, an export or a proof; 0 it holds, 1 it does not, 2 it cannot be looked at"
    own = commands.add_parser("verify", help=text, description=text)
    verify.options(own)
    _database_option(own)
    own.set_defaults(audit=_verify)
    text = "show a record, its verdict first; nothing is decrypted"
    own = commands.add_parser("show", help=text, description=text)
    own.add_argument("directory", type=Path, metavar="DIRECTORY", help="the log's directory")
    _database_option(own)
    own.add_argument("record", metavar="ID", help="id of a record, or of an explanation")
    own.add_argument("--json", action="store_true", help="write the envelope as JSON")
    own.set_defaults(audit=_show)
    text = "export records with their proofs, pages, a table and the verifier, signed; nothing is decrypted"
    own = commands.add_parser("export", help=text, description=text)
    own.add_argument("directory", type=Path, metavar="DIRECTORY", help="the log's directory")
    _database_option(own)
    own.add_argument("--out", type=Path, required=True, metavar="DIRECTORY", help="where to; must not exist yet")
    own.add_argument(
        "--signing-key", type=Path, metavar="FILE", help="as audit.signing_key of the settings, if that is set"
    )
    own.add_argument(
        "--record", action="append", default=[], metavar="ID", help="a record or explanation; may be repeated"
    )
    own.set_defaults(audit=_export)
    return commands


def _database_option(parser: argparse.ArgumentParser) -> None:
    text = "file with the URL of the log's PostgreSQL database, as audit.database of the settings"
    parser.add_argument("--database", type=Path, metavar="FILE", help=text)


def audit(options: argparse.Namespace) -> int:
    """Run one of the commands; return its exit code. Raises AuditError, OSError."""
    code: int = options.audit(options)
    return code


def _verify(options: argparse.Namespace) -> int:
    if options.database is None:
        return verify.run(options)
    from rollcall.audit.verify_postgresql import verify_postgresql

    url = options.database.read_text(encoding="utf-8").strip()
    return verify.answer(options, lambda key, kept: verify_postgresql(url, key, kept))


def _show(options: argparse.Namespace) -> int:
    from rollcall.audit import queries
    from rollcall.audit.database import database_of, reading
    from rollcall.audit.showing import lines

    with reading(database_of(options.directory, options.database)) as connection:
        record_id = queries.find(connection, options.record)
        if record_id is None:
            message = f"the log has no record or explanation {options.record}"
            raise AuditError(message)
        kept, signed = queries.kept(connection, record_id), queries.last_checkpoint(connection)
    body = json.loads(kept.envelope)
    if options.json:
        print(json.dumps(body, ensure_ascii=False, indent=2))
    else:
        print("\n".join(lines(kept, body, signed.size if signed else 0)))
    return DONE


def _export(options: argparse.Namespace) -> int:
    from rollcall.audit import queries
    from rollcall.audit.database import database_of, reading
    from rollcall.audit.export import NothingSigned, export
    from rollcall.audit.keys import existing_signing_key
    from rollcall.audit.notes import NoteError

    with reading(database_of(options.directory, options.database)) as connection:
        found = {name: queries.find(connection, name) for name in options.record}
        missing = [name for name, record_id in found.items() if record_id is None]
        if missing:
            message = f"the log has no record or explanation {', '.join(missing)}"
            raise AuditError(message)
        wanted = [record_id for record_id in found.values() if record_id is not None]
        try:
            signer = existing_signing_key(options.directory, options.signing_key)
            if signer.name != queries.origin(connection):
                message = f"the signing key is of {signer.name!r}, and the log is {queries.origin(connection)!r}"
                raise AuditError(message)
            bundle = export(connection, signer, wanted or None)
            bundle.write(options.out)
        except (NothingSigned, NoteError, FileExistsError) as error:
            raise AuditError(str(error)) from error
    print(f"{options.out}: {bundle.records} records under the checkpoint over {bundle.size} entries")
    if bundle.unsigned:
        print(f"{bundle.unsigned} records are not signed yet and were left out")
    return DONE
