"""Keeping secrets in records so that they can be destroyed: one data key per record, which another key wraps.

That is the key of the subject whom the record names, itself wrapped by the operator's key, or else the operator's.

A payload is AES-256-GCM under the record's data key with a random nonce of 96 bits; record and kind are authenticated
with it, so a payload moved elsewhere does not open. The data key is wrapped by the key-encryption key with AES key wrap
(RFC 3394), which needs no nonce: under AES-GCM one long-lived key would reach its 2**32 random nonces (NIST SP 800-38D)
within a year of heavy use. Whoever destroys the wrapped key has erased every payload of the record; whoever destroys a
subject's key, of all records about that subject.

A commitment is SHA-256 over a domain, the record's salt of 32 random bytes, and the content. The salt is itself sealed:
without it nobody can test a guess against a commitment, and once the data key is gone, nobody ever can.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

KEY_BYTES = 32
NONCE_BYTES = 12
SALT_BYTES = 32
SCHEME = "AES-256-GCM, data key wrapped by RFC 3394"
_COMMITMENT = b"rollcall-commitment-1"
_PAYLOAD = b"rollcall-payload-1"
_KEY_ID = b"rollcall-key-id-1"
_INDEX = b"rollcall-index-1"


class SealError(Exception):
    """A payload or key does not open: another key, or altered bytes. Says nothing of the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """One payload as it is stored."""

    kind: str
    nonce: bytes
    ciphertext: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of nonce and ciphertext, hexadecimal: shows an alteration to whoever has no key."""
        return hashlib.sha256(self.nonce + self.ciphertext).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEncryptionKey:
    """A key (32 bytes) under which other keys are wrapped: the operator's, or a subject's."""

    key: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> KeyEncryptionKey:
        """Make a new key."""
        return cls(key=secrets.token_bytes(KEY_BYTES))

    @classmethod
    def parse(cls, line: str) -> KeyEncryptionKey:
        """Read a key from the text of its file: 32 bytes in base64. Raises SealError."""
        try:
            key = base64.b64decode(line.strip(), validate=True)
        except (binascii.Error, ValueError) as error:
            message = "an encryption key is 32 bytes in base64"
            raise SealError(message) from error
        if len(key) != KEY_BYTES:
            message = f"an encryption key is 32 bytes in base64, not {len(key)}"
            raise SealError(message)
        return cls(key=key)

    def line(self) -> str:
        """Write the key as text: a secret."""
        return base64.b64encode(self.key).decode() + "\n"

    @property
    def id(self) -> str:
        """What records call the key: 16 hexadecimal digits that tell nothing of it."""
        return hashlib.sha256(_KEY_ID + self.key).hexdigest()[:16]

    def wrap(self, data_key: bytes) -> bytes:
        """Wrap a data key: 40 bytes."""
        return aes_key_wrap(self.key, data_key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Return the data key; SealError for another key's, or an altered one."""
        try:
            return aes_key_unwrap(self.key, wrapped)
        except (InvalidUnwrap, ValueError) as error:
            message = "the data key cannot be unwrapped with this encryption key"
            raise SealError(message) from error


def index_key(operator: KeyEncryptionKey) -> bytes:
    """Derive the key of the index over references: without it nobody can test a guess against the index."""
    return hmac.digest(operator.key, _INDEX, "sha256")


def seal(data_key: bytes, record_id: str, kind: str, content: bytes) -> Sealed:
    """Encrypt one payload of a record."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return Sealed(kind=kind, nonce=nonce, ciphertext=AESGCM(data_key).encrypt(nonce, content, _bound(record_id, kind)))


def unseal(data_key: bytes, record_id: str, sealed: Sealed) -> bytes:
    """Decrypt one payload of a record; SealError."""
    try:
        return AESGCM(data_key).decrypt(sealed.nonce, sealed.ciphertext, _bound(record_id, sealed.kind))
    except (InvalidTag, ValueError) as error:
        message = f"the payload {sealed.kind!r} does not open"
        raise SealError(message) from error


def commitment(salt: bytes, kind: str, content: bytes) -> str:
    """Commit to the content of one kind: 64 hexadecimal digits that cannot be guessed at without the salt."""
    return hashlib.sha256(_joined(_COMMITMENT, kind.encode(), salt) + content).hexdigest()


def _bound(record_id: str, kind: str) -> bytes:
    return _joined(_PAYLOAD, record_id.encode(), kind.encode())


def _joined(*parts: bytes) -> bytes:
    """Join parts so that their boundaries count."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
