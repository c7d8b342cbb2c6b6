"""The server that is fuzzed, with its secrets, and where it must not have written them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from rollcall.demo.server import ServerProcess, server_process
from rollcall.domain.identity import Role
from rollcall.edge.access.callers import token_digest
from tests.fuzz.hostile import CANARY
from tests.unit.edge.access.tokens import AUDIENCE, ISSUER, Issuer

TOKEN = "swordfish-swordfish"  # noqa: S105 - planted, to be looked for
CALLERS = f"""
[fuzzer]
tenant = "tests"
roles = {[role.value for role in Role]}
token_sha256 = "{token_digest(TOKEN)}"
"""


@contextmanager
def fuzzed_server(directory: Path) -> Iterator[ServerProcess]:
    """Serve the demo model with authentication and records, and so that what passes by chance costs little."""
    (directory / "callers.toml").write_text(CALLERS)
    (directory / "models").mkdir()
    (directory / "keys.json").write_bytes(Issuer().keys())
    environment = {
        "ROLLCALL_AUTH_CALLERS": str(directory / "callers.toml"),
        "ROLLCALL_AUTH_JWT_KEYS_FILE": str(directory / "keys.json"),
        "ROLLCALL_AUTH_JWT_ISSUER": ISSUER,
        "ROLLCALL_AUTH_JWT_AUDIENCE": AUDIENCE,
        "ROLLCALL_AUDIT_DIRECTORY": str(directory / "audit"),
        "ROLLCALL_REPOSITORY_DIRECTORY": str(directory / "models"),
        "ROLLCALL_REPOSITORY_MODE": "explicit",
        "ROLLCALL_AUDIT_DURABILITY": "best_effort",
        "ROLLCALL_EXPLAIN_CHECK_LEVEL": "none",
        "ROLLCALL_EXPLAIN_MAX_ROWS": "20",
        "ROLLCALL_EXPLAIN_THOROUGH_ROWS": "20",
        "ROLLCALL_EXPLAIN_RECHECK_SHARE": "0",
        "ROLLCALL_LIMITS_MAX_ROWS": "20",
        "ROLLCALL_LIMITS_MAX_UNITS": "8",
    }
    with server_process("--demo", environment=environment) as server:
        yield server


def leaks(server: ServerProcess) -> list[str]:
    """Say where an input or a secret is that must not be there, and what somebody wrote into the log who may not."""
    log = server.log.read_text()
    with urlopen(f"{server.admin}/statusz", timeout=10) as reply:
        status = reply.read().decode()
    places = {"log": log, "metrics": server.metrics(), "statusz": status}
    found = [
        f"{what} in {place}"
        for place, content in places.items()
        for what, secret in (("an input", CANARY), ("the token", TOKEN), ("the token's digest", token_digest(TOKEN)))
        if secret in content
    ]
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    found += [f"a forged line in the log: {event}" for event in events if event["event"] == "forged"]
    return found + [f"an error that is ours: {event}" for event in events if event["level"] == "error"][:5]
