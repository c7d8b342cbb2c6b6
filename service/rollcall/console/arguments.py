"""The options of the command, apart from what it takes to run it, so that help is instant."""

from __future__ import annotations

import argparse
from pathlib import Path

DEFAULT_PORT = 8003
HOST = "127.0.0.1"


def console_options(parser: argparse.ArgumentParser) -> None:
    """Say how the console is reached; whom it asks is said as for every command that asks a server."""
    parser.add_argument("--demo", action="store_true", help="beside a demonstration server with a few records")
    parser.add_argument("--host", default=HOST, help="where it listens (default %(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, metavar="N", help="its port (default %(default)s)")
    parser.add_argument(
        "--public-url", default="", metavar="URL", help="where browsers find it, if not on the loopback"
    )
    parser.add_argument("--log-key", type=Path, metavar="FILE", help="the log's verifier key, to verify proofs with")
    parser.add_argument("--oidc-issuer", default="", metavar="URL", help="sign people in with this issuer")
    parser.add_argument("--oidc-client", default="", metavar="ID", help="what the issuer calls this console")
    parser.add_argument("--oidc-secret-file", type=Path, metavar="FILE", help="holds the secret that the issuer knows")
    parser.add_argument(
        "--oidc-sends",
        choices=("access_token", "id_token"),
        default="access_token",
        help="which of the issuer's tokens the service gets (default %(default)s)",
    )
