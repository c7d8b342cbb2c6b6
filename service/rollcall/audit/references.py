"""What the caller calls a decision and the person it is about: found again by whoever knows the name, told to nobody.

The index holds an HMAC of each name under a key of the operator's: it is looked up by who brings the name. The envelope
has a commitment to it, over a nonce that is stored with the index and goes with it: once a record is erased, not even
the operator can find out whether it was about a certain person. The names themselves are a part of the record, sealed.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from enum import Enum

from rollcall.audit.verifying import reference_commitment
from rollcall.domain.explanation import PredictRequest

NONCE_BYTES = 16


class ReferenceKind(Enum):
    """What is named."""

    DECISION = "decision"
    SUBJECT = "subject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A row of the index: 32 bytes that stand for a name, and the nonce of the commitment to them."""

    kind: ReferenceKind
    digest: bytes
    nonce: bytes

    @property
    def commitment(self) -> str:
        """What the envelope says of it: 64 hexadecimal digits."""
        return reference_commitment(self.kind.value, self.nonce, self.digest)


def index_digest(index_key: bytes, kind: ReferenceKind, name: str, tenant: str = "") -> bytes:
    """What the index holds of a name that a tenant gives: 32 bytes. Of another tenant the same name is another one."""
    whose = f"{tenant}\x00\x00".encode() if tenant else b""
    return hmac.digest(index_key, kind.value.encode() + b"\x00" + whose + name.encode(errors="surrogatepass"), "sha256")


def references(index_key: bytes, request: PredictRequest) -> tuple[Reference, ...]:
    """Make the rows of the index for what a request names, each with a nonce of its own."""
    named = {ReferenceKind.DECISION: request.decision_ref, ReferenceKind.SUBJECT: request.subject_ref}
    return tuple(
        Reference(
            kind=kind,
            digest=index_digest(index_key, kind, name, request.caller.tenant),
            nonce=secrets.token_bytes(NONCE_BYTES),
        )
        for kind, name in named.items()
        if name
    )
