"""Proofs are verified, and whatever is wrong with one is named."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from rollcall.audit.merkle import consistency_proof, inclusion_proof, leaf_hash, nodes_of, root
from rollcall.audit.notes import Checkpoint, Proof, Signer
from rollcall.console.proving import Seen, Watch, verify_record
from rollcall_client import LogCheckpoint, LogProof

SIGNER, OTHER = Signer.generate("log.example"), Signer.generate("log.example")
ENVELOPE = '{"record":"7"}'
ENTRIES = [f'{{"n":{number}}}' for number in range(6)] + [
    json.dumps({"type": "explanation", "record_id": "7", "envelope_sha256": sha256(ENVELOPE.encode()).hexdigest()})
]
LEAVES = [leaf_hash(entry.encode()) for entry in ENTRIES]


def checkpoint(size: int, signer: Signer = SIGNER, leaves: list[bytes] = LEAVES) -> Checkpoint:
    """Give the state of a log of so many entries."""
    return Checkpoint(origin=signer.name, size=size, root=root(nodes_of(leaves[:size]), size))


def proof(signer: Signer = SIGNER) -> LogProof:
    """Prove the last entry."""
    note = signer.sign(checkpoint(7).text())
    path = tuple(inclusion_proof(nodes_of(LEAVES), 6, 7))
    return LogProof(
        entry=ENTRIES[6], proof=Proof(index=6, path=path, note=note).text(), verifier_key=signer.verifier.line()
    )


def newest(size: int, old: int | None, signer: Signer = SIGNER, leaves: list[bytes] = LEAVES) -> LogCheckpoint:
    """Give what the service says of its log."""
    return LogCheckpoint(
        note=signer.sign(checkpoint(size, signer, leaves).text()),
        size=size,
        verifier_key=signer.verifier.line(),
        consistency=tuple(consistency_proof(nodes_of(leaves[:size]), old, size)) if old else (),
    )


def test_a_record_that_is_as_it_was_logged_verifies() -> None:
    """With the key of the service, and with one from elsewhere."""
    for known in (None, SIGNER.verifier):
        steps = verify_record(ENVELOPE, "7", proof(), known)
        assert [step.holds for step in steps] == [True] * 4


@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({"envelope": ENVELOPE + " "}, "names this envelope"),
        ({"record_id": "8"}, "is of this record"),
        ({"entry": ENTRIES[5]}, "leads to the root"),
        ({"known": OTHER.verifier}, "has signed"),
        ({"proof": "nonsense"}, "has signed"),
        ({"entry": "[]"}, "names this envelope"),
        ({"entry": "not JSON"}, "names this envelope"),
    ],
)
def test_whatever_is_altered_the_step_that_fails_is_named(changed: dict[str, object], failing: str) -> None:
    """Envelope, record, entry, key, proof."""
    given = replace(proof(), **{name: str(value) for name, value in changed.items() if name in {"entry", "proof"}})
    known = changed.get("known")
    steps = verify_record(
        str(changed.get("envelope", ENVELOPE)),
        str(changed.get("record_id", "7")),
        given,
        known,  # type: ignore[arg-type]  # a verifier or None
    )
    assert any(failing in step.question for step in steps if not step.holds)


def test_a_log_that_grew_begins_with_what_was_seen() -> None:
    """The console keeps the largest state, and asks for the proof from there."""
    watch = Watch(None)
    first = watch.look(newest(4, None), watch.seen)
    assert [step.holds for step in first.steps] == [True]
    second = watch.look(newest(7, 4), watch.seen)
    assert [step.holds for step in second.steps] == [True, True]
    assert watch.seen is not None
    assert watch.seen.checkpoint.size == 7


def test_a_log_that_was_rewritten_is_noticed_and_not_kept() -> None:
    """Signed by the right key, and still another log."""
    watch = Watch(None)
    watch.look(newest(4, None), watch.seen)
    rewritten = [leaf_hash(b"other"), *LEAVES[1:]]
    looked = watch.look(newest(7, 4, leaves=rewritten), watch.seen)
    assert [step.holds for step in looked.steps] == [True, False]
    assert watch.seen is not None
    assert watch.seen.checkpoint.size == 4


def test_a_log_under_another_key_is_noticed() -> None:
    """Where the console was told the key, the service's own word does not count."""
    watch = Watch(SIGNER.verifier)
    looked = watch.look(newest(4, None, OTHER), None)
    assert [step.holds for step in looked.steps] == [False]
    assert looked.now is None
    assert watch.seen is None


def test_a_smaller_state_that_came_late_is_not_kept() -> None:
    """Two people look at once: the answer that comes last may be the older one."""
    watch = Watch(None)
    at = datetime.now(UTC)
    before = Seen(checkpoint=checkpoint(4), note="", at=at)
    watch.look(newest(7, 4), before)
    watch.look(newest(5, 4), before)
    assert watch.seen is not None
    assert watch.seen.checkpoint.size == 7
