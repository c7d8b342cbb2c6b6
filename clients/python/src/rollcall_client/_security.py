"""How a client knows the service, and how it says who it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

_TOKEN = re.compile(r"[\x21-\x7e]+")


def channel_credentials(
    credentials: grpc.ChannelCredentials | None,
    ca: str | PathLike[str] | None,
    cert: str | PathLike[str] | None,
    key: str | PathLike[str] | None,
) -> grpc.ChannelCredentials | None:
    """What the channel is opened with; None for plaintext. Raises ValueError for half of it, OSError for a file."""
    if (cert is None) != (key is None):
        message = "cert and key belong together"
        raise ValueError(message)
    if ca is None:
        if cert is not None:
            message = "cert and key need ca: the certificates that the service's must lead to"
            raise ValueError(message)
        return credentials
    if credentials is not None:
        message = "give either credentials or ca"
        raise ValueError(message)
    root, private, chain = (None if file is None else Path(file).read_bytes() for file in (ca, key, cert))
    return grpc.ssl_channel_credentials(root_certificates=root, private_key=private, certificate_chain=chain)


def authorization(token: str | Callable[[], str] | None) -> tuple[tuple[str, str], ...]:
    """The metadata that says who this is. Raises ValueError, which does not quote it, for what cannot be a token."""
    if token is None:
        return ()
    text = token() if callable(token) else token
    if not _TOKEN.fullmatch(text):
        message = "token must be printable ASCII characters without blanks"
        raise ValueError(message)
    return (("authorization", f"Bearer {text}"),)
