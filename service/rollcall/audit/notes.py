"""Signed notes, checkpoints and proof files as C2SP specifies them. Standard library and cryptography only.

A note is text, a blank line, and signature lines (https://c2sp.org/signed-note). A checkpoint is a note whose text is
the log's origin, its size and its root (https://c2sp.org/tlog-checkpoint). A proof file holds one leaf's index and path
and the checkpoint that it leads to (https://c2sp.org/tlog-proof). A verifier key is one line: "name+id+base64".

A further signature algorithm is a row of ALGORITHMS; a note may carry several signatures, and one by a known key
suffices. Whatever is malformed is a NoteError.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rollcall.audit.merkle import HASH_BYTES, verify_inclusion

ED25519 = 0x01
"""Signature type of the specification."""
KEY_ID_BYTES = 4
PREFIX = "PRIVATE+KEY+"
"""Of a signing key's line, as golang.org/x/mod/sumdb/note writes it."""
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
MOST_SIGNATURES = 16
MOST_HASHES = 63
"""Of a path: a tree has fewer than 2**63 leaves."""


class NoteError(ValueError):
    """A note, key, checkpoint or proof cannot be read, or is not what it says; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a log: so many leaves, and the root (32 bytes) over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Write what is signed."""
        return f"{self.origin}\n{self.size}\n{_to_base64(self.root)}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A public key that signatures of `name` are held against."""

    name: str
    key_id: bytes
    public_key: bytes
    algorithm: int = ED25519

    @classmethod
    def parse(cls, line: str) -> Verifier:
        """Read a verifier key's line; NoteError."""
        name, _, rest = line.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _from_base64(encoded)
        if not _is_name(name) or len(key) < 1 or key[0] not in ALGORITHMS:
            message = "not a verifier key of a kind that is known here"
            raise NoteError(message)
        found = cls(name=name, key_id=_key_id(name, key), public_key=key[1:], algorithm=key[0])
        if found.key_id.hex() != key_id:
            message = "the verifier key's id does not belong to the key"
            raise NoteError(message)
        return found

    def line(self) -> str:
        """Write the verifier key's line."""
        return f"{self.name}+{self.key_id.hex()}+{_to_base64(bytes([self.algorithm]) + self.public_key)}"

    def accepts(self, text: str, signature: bytes) -> bool:
        """Whether the signature is this key's for this text."""
        return ALGORITHMS[self.algorithm](self.public_key, text.encode(), signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A private key that signs as `name`."""

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> Signer:
        """Make a new key; NoteError for a name with blanks or a plus in it."""
        if not _is_name(name):
            message = "a key's name must not be empty nor hold blanks or +"
            raise NoteError(message)
        return cls(name=name, seed=Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, line: str) -> Signer:
        """Read a signing key's line; NoteError."""
        name, _, rest = line.strip().removeprefix(PREFIX).partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _from_base64(encoded)
        if not line.startswith(PREFIX) or not _is_name(name) or len(key) != 1 + HASH_BYTES or key[0] != ED25519:
            message = "not an Ed25519 signing key"
            raise NoteError(message)
        signer = cls(name=name, seed=key[1:])
        if signer.verifier.key_id.hex() != key_id:
            message = "the signing key's id does not belong to the key"
            raise NoteError(message)
        return signer

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return Verifier(name=self.name, key_id=_key_id(self.name, bytes([ED25519]) + public), public_key=public)

    def line(self) -> str:
        """Write the signing key's line: a secret."""
        return f"{PREFIX}{self.name}+{self.verifier.key_id.hex()}+{_to_base64(bytes([ED25519]) + self.seed)}"

    def sign(self, text: str) -> str:
        """Make a note of `text`, which ends in a newline."""
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"{text}\n\u2014 {self.name} {_to_base64(self.verifier.key_id + signature)}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That an entry is leaf `index` of a log: the path to the root of a checkpoint, and the checkpoint's note."""

    index: int
    path: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """Write the proof file."""
        hashes = "".join(f"{_to_base64(hashed)}\n" for hashed in self.path)
        return f"{PROOF_HEADER}\nindex {self.index}\n{hashes}\n{self.note}"

    @classmethod
    def parse(cls, text: str) -> Proof:
        """Read a proof file; unauthenticated extra data is passed over. NoteError."""
        head, separator, note = text.partition("\n\n")
        lines = head.split("\n")
        if lines[0] != PROOF_HEADER or not separator:
            message = f"a proof file begins with {PROOF_HEADER}"
            raise NoteError(message)
        rest = lines[2:] if lines[1:2] and lines[1].startswith("extra ") else lines[1:]
        word, _, number = rest[0].partition(" ") if rest else ("", "", "")
        path = tuple(_from_base64(line) for line in rest[1:])
        if word != "index" or len(path) > MOST_HASHES or any(len(hashed) != HASH_BYTES for hashed in path):
            message = "a proof file has an index and then hashes"
            raise NoteError(message)
        return cls(index=_decimal(number), path=path, note=note)

    def check(self, leaf: bytes, keys: Iterable[Verifier]) -> Checkpoint:
        """Return the checkpoint that the leaf hash is proved to be under; NoteError if it is not."""
        checkpoint = open_checkpoint(self.note, keys)
        if not verify_inclusion(
            leaf=leaf, index=self.index, size=checkpoint.size, path=self.path, root=checkpoint.root
        ):
            message = f"the path does not lead from the entry to the root of size {checkpoint.size}"
            raise NoteError(message)
        return checkpoint


def open_note(note: str, keys: Iterable[Verifier]) -> str:
    """Return a note's text if at least one of `keys` has signed it, and none of them wrongly; NoteError."""
    text, separator, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not separator or lines.pop() != "" or not 0 < len(lines) <= MOST_SIGNATURES:
        message = "not a signed note"
        raise NoteError(message)
    text += "\n"
    known = {(key.name, key.key_id): key for key in keys}
    signed = False
    for line in lines:
        dash, name, encoded = _three(line)
        signature = _from_base64(encoded)
        if dash != "\u2014" or not _is_name(name) or len(signature) <= KEY_ID_BYTES:
            message = "a signature line is malformed"
            raise NoteError(message)
        key = known.get((name, signature[:KEY_ID_BYTES]))
        if key is None:
            continue
        if not key.accepts(text, signature[KEY_ID_BYTES:]):
            message = f"the signature of {name} is wrong"
            raise NoteError(message)
        signed = True
    if not signed:
        message = "no key that is known here has signed it"
        raise NoteError(message)
    return text


def open_checkpoint(note: str, keys: Iterable[Verifier]) -> Checkpoint:
    """Return a checkpoint that at least one of `keys` has signed under the log's origin as its name; NoteError."""
    origin = note.partition("\n")[0]
    lines = open_note(note, [key for key in keys if key.name == origin]).split("\n")
    if len(lines) != len(("origin", "size", "root", "")) or not lines[0]:
        message = "a checkpoint is three lines: origin, size, root"
        raise NoteError(message)
    root = _from_base64(lines[2])
    if len(root) != HASH_BYTES:
        message = "a checkpoint's root has 32 bytes"
        raise NoteError(message)
    return Checkpoint(origin=origin, size=_decimal(lines[1]), root=root)


def _ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


ALGORITHMS = {ED25519: _ed25519}
"""How signatures are checked, by the specification's type: takes key, message and signature."""


def _key_id(name: str, key: bytes) -> bytes:
    """Id of a key (its type and then its bytes)."""
    return hashlib.sha256(name.encode() + b"\n" + key).digest()[:KEY_ID_BYTES]


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(character.isspace() for character in name)


def _three(line: str) -> Sequence[str]:
    parts = line.split(" ")
    return parts if len(parts) == len(("dash", "name", "signature")) else ("", "", "")


def _decimal(text: str) -> int:
    """Read a number as the formats write it: digits, no sign, no leading zero."""
    if not (text.isascii() and text.isdecimal()) or text != str(int(text)):
        message = "a number is malformed"
        raise NoteError(message)
    return int(text)


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        message = "base64 is malformed"
        raise NoteError(message) from error
