"""Notes, checkpoints and proof files are those of C2SP, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcall.audit import merkle
from rollcall.audit.notes import Checkpoint, NoteError, Proof, Signer, Verifier, open_checkpoint, open_note

PUBLISHED_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    "\n\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The example of golang.org/x/mod/sumdb/note, where the format comes from."""
PUBLISHED_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"  # noqa: S105
ORIGIN = "log.example/records"


@pytest.fixture(scope="module")
def signer() -> Signer:
    """Make a key for the log."""
    return Signer.generate(ORIGIN)


def checkpoint(size: int = 1, root: bytes = b"\x07" * 32) -> Checkpoint:
    """State a log."""
    return Checkpoint(origin=ORIGIN, size=size, root=root)


def test_the_published_example_opens() -> None:
    """A note that another implementation has signed is accepted."""
    text = open_note(PUBLISHED_NOTE, [Verifier.parse(PUBLISHED_KEY)])
    assert text.startswith("If you think")
    assert Verifier.parse(PUBLISHED_KEY).line() == PUBLISHED_KEY


def test_the_published_key_signs_the_published_note() -> None:
    """Ed25519 is deterministic: our signature under their key is theirs to the last byte."""
    signer = Signer.parse(PUBLISHED_SECRET)
    assert signer.sign(PUBLISHED_NOTE.partition("\n\n")[0] + "\n") == PUBLISHED_NOTE
    assert (signer.line(), signer.verifier.line()) == (PUBLISHED_SECRET, PUBLISHED_KEY)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(PUBLISHED_NOTE) - 1), character=st.characters(codec="utf-8"))
def test_no_altered_note_opens(at: int, character: str) -> None:
    """Whatever character is changed, the note is refused."""
    altered = PUBLISHED_NOTE[:at] + character + PUBLISHED_NOTE[at + 1 :]
    if altered != PUBLISHED_NOTE:
        with pytest.raises(NoteError):
            open_note(altered, [Verifier.parse(PUBLISHED_KEY)])


def test_a_checkpoint_is_three_lines(signer: Signer) -> None:
    """Origin, size and root come back as they were signed."""
    note = signer.sign(checkpoint(size=20).text())
    assert note.startswith(f"{ORIGIN}\n20\n")
    assert open_checkpoint(note, [signer.verifier]) == checkpoint(size=20)


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n20\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\nmore\n",
        f"{ORIGIN}\n020\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
        f"{ORIGIN}\n-1\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
        f"{ORIGIN}\n20\nBwcH\n",
        f"{ORIGIN}\n20\n",
    ],
)
def test_other_texts_are_no_checkpoints(signer: Signer, text: str) -> None:
    """Extension lines, odd numbers and short roots are refused, even signed."""
    with pytest.raises(NoteError):
        open_checkpoint(signer.sign(text), [signer.verifier])


def test_only_the_logs_own_key_signs_its_checkpoints(signer: Signer) -> None:
    """A key of another name, or another key of the name, does not make a checkpoint the log's."""
    for other in (Signer.generate("other.example"), Signer.generate(ORIGIN)):
        note = other.sign(checkpoint().text())
        with pytest.raises(NoteError):
            open_checkpoint(note, [signer.verifier] if other.name == ORIGIN else [other.verifier, signer.verifier])


def test_signatures_of_strangers_are_passed_over(signer: Signer) -> None:
    """A cosignature by an unknown key does not hide the known one."""
    text = checkpoint().text()
    note = signer.sign(text) + Signer.generate("witness.example").sign(text).rpartition("\n\n")[2]
    assert open_checkpoint(note, [signer.verifier]) == checkpoint()


@pytest.mark.parametrize("name", ["", "two words", "one+two", "line\nbreak"])
def test_names_are_one_word(name: str) -> None:
    """A name that would break the line of a key or signature is refused."""
    with pytest.raises(NoteError):
        Signer.generate(name)


@pytest.mark.parametrize("line", ["", "a+b", "a+00000000+AA==", PUBLISHED_KEY.replace("c7", "c8"), PUBLISHED_KEY[:-4]])
def test_other_lines_are_no_keys(line: str) -> None:
    """A key whose id does not belong to it, or of an unknown kind, is refused."""
    with pytest.raises(NoteError):
        Verifier.parse(line)
    with pytest.raises(NoteError):
        Signer.parse("PRIVATE+KEY+" + line)


def test_a_proof_file_proves_its_entry_and_no_other(signer: Signer) -> None:
    """What was written is read back and leads from the entry to the signed root."""
    leaves = [merkle.leaf_hash(entry) for entry in (b"a", b"b", b"c")]
    node = merkle.nodes_of(leaves)
    note = signer.sign(checkpoint(size=3, root=merkle.root(node, 3)).text())
    proof = Proof(index=1, path=tuple(merkle.inclusion_proof(node, 1, 3)), note=note)
    text = proof.text()
    assert text.startswith("c2sp.org/tlog-proof@v1\nindex 1\n")
    assert Proof.parse(text) == proof
    assert Proof.parse(text.replace("index", "extra AAAA\nindex", 1)) == proof
    assert proof.check(leaves[1], [signer.verifier]).size == 3
    with pytest.raises(NoteError, match="does not lead"):
        proof.check(leaves[0], [signer.verifier])
    for altered in ("", text.replace("@v1", "@v2"), text.replace("index 1", "index 01"), text.replace("\n\n", "\n")):
        with pytest.raises(NoteError):
            Proof.parse(altered)
