"""The public keys of an issuer of tokens (RFC 7517), from a file or from its address."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import aiohttp
from jwt import PyJWK, PyJWKSet, PyJWTError

from rollcall.domain.errors import CapacityError
from rollcall.edge.access.watched import Watched
from rollcall.telemetry import logs

FRESH_SECONDS = 300.0
"""Keys older than that are fetched again, while the old ones serve."""
RETRY_SECONDS = 10.0
"""Between two fetches: a token that names a key nobody knows must not become a request to the issuer each time."""
STALE_SECONDS = 86_400.0
"""Keys of an issuer that has not answered for so long are not believed any more."""
FETCH_SECONDS = 5.0
MAX_BYTES = 1 << 20
PUBLIC = frozenset({"RSA", "EC", "OKP"})
"""Kinds of keys that verify and cannot sign."""

Keys = tuple[PyJWK, ...]

_log = logging.getLogger("rollcall.edge")


class KeySource(Protocol):
    """Where keys come from."""

    async def find(self, key_id: str | None) -> PyJWK | None:
        """Find a key; without an id, the only one there is. Raises CapacityError if there are no keys yet."""


def parse_keys(content: bytes) -> Keys:
    """Read a set of keys; those that are not for signatures, or not public, are left out. Raises ValueError."""
    try:
        found = PyJWKSet.from_dict(json.loads(content)).keys
    except (PyJWTError, ValueError, AttributeError, RecursionError):
        message = "is no set of JSON Web Keys"
        raise ValueError(message) from None
    keys = tuple(key for key in found if key.key_type in PUBLIC and key.public_key_use in {None, "sig"})
    if not keys:
        message = "has no public key for signatures"
        raise ValueError(message)
    return keys


def pick(keys: Keys, key_id: str | None) -> PyJWK | None:
    """Find a key by its id; without one, the only one there is."""
    if key_id is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.key_id == key_id), None)


class FileKeys:
    """Keys in a file, which is read again when it changes."""

    def __init__(self, file: Watched[Keys]) -> None:
        self._file = file

    async def find(self, key_id: str | None) -> PyJWK | None:
        """Find a key."""
        return pick(self._file.get(), key_id)


async def fetch(url: str) -> bytes:
    """Get what is at an address. Raises OSError, aiohttp.ClientError, TimeoutError or ValueError."""
    limit = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=limit, raise_for_status=True) as session,
        session.get(url, allow_redirects=False) as reply,
    ):
        content = await reply.content.read(MAX_BYTES + 1)
        while len(content) <= MAX_BYTES and (more := await reply.content.read(MAX_BYTES + 1)):
            content += more
    if len(content) > MAX_BYTES or reply.status != 200:  # noqa: PLR2004 - OK
        message = "expected a set of keys of at most 1 MiB, and no redirect"
        raise ValueError(message)
    return content


class RemoteKeys:
    """Keys at an address: fetched when they are first needed, when they are no longer fresh, and for a key not known.

    While the issuer cannot be reached the last ones serve, for `STALE_SECONDS`. Used from one event loop.
    """

    def __init__(
        self,
        url: str,
        get: Callable[[str], Awaitable[bytes]] = fetch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._get = get
        self._clock = clock
        self._keys: Keys = ()
        self._fetched = self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None) -> PyJWK | None:
        """Find a key, also one that the issuer has just begun to use."""
        now = self._clock()
        if now - self._fetched > STALE_SECONDS:
            self._keys = ()
        key = pick(self._keys, key_id)
        if key is None or now - self._fetched > FRESH_SECONDS:
            self._refresh(now)
        if key is None and self._fetching is not None:
            await asyncio.shield(self._fetching)
            key = pick(self._keys, key_id)
        if not self._keys:
            message = "the keys of the issuer of tokens cannot be had at the moment"
            raise CapacityError(message)
        return key

    def _refresh(self, now: float) -> None:
        if self._fetching is None and now - self._tried >= RETRY_SECONDS:
            self._tried = now
            self._fetching = asyncio.ensure_future(self._fetch())
            self._fetching.add_done_callback(lambda _: setattr(self, "_fetching", None))

    async def _fetch(self) -> None:
        try:
            self._keys = parse_keys(await self._get(self._url))
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError) as error:
            logs.event(_log, logging.ERROR, "issuer_keys_not_fetched", error=error, url=self._url)
        else:
            self._fetched = self._clock()
