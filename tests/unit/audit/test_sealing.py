"""Payloads open with their keys alone, in their own place, and not at all once the key is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollcall.audit.sealing import KeyEncryptionKey, Sealed, SealError, commitment, seal, unseal

KEY = bytes(range(32))
RECORD = "0198c0ffee"


def test_a_payload_comes_back() -> None:
    """What was sealed is opened, and is not to be seen in between."""
    sealed = seal(KEY, RECORD, "input", b"a private text")
    assert b"private" not in sealed.ciphertext
    assert unseal(KEY, RECORD, sealed) == b"a private text"


@pytest.mark.parametrize(
    "altered",
    [
        lambda sealed: replace(sealed, kind="scores"),
        lambda sealed: replace(sealed, nonce=bytes(12)),
        lambda sealed: replace(sealed, nonce=b""),
        lambda sealed: replace(sealed, ciphertext=sealed.ciphertext[:-1]),
        lambda sealed: replace(sealed, ciphertext=b"\x00" + sealed.ciphertext[1:]),
    ],
)
def test_an_altered_payload_does_not_open(altered: object) -> None:
    """Another kind, nonce or byte is noticed, with and without the key."""
    sealed = seal(KEY, RECORD, "input", b"a private text")
    other: Sealed = altered(sealed)  # type: ignore[operator] # one of the functions above
    with pytest.raises(SealError):
        unseal(KEY, RECORD, other)
    assert other.kind != sealed.kind or other.digest != sealed.digest


def test_a_payload_does_not_open_in_another_record() -> None:
    """A payload that was moved is noticed."""
    with pytest.raises(SealError):
        unseal(KEY, "another", seal(KEY, RECORD, "input", b"x"))


def test_data_keys_are_wrapped_by_one_key() -> None:
    """Only the key that wrapped a data key unwraps it."""
    ours, theirs = KeyEncryptionKey.generate(), KeyEncryptionKey.generate()
    wrapped = ours.wrap(KEY)
    assert ours.unwrap(wrapped) == KEY
    assert ours.id != theirs.id
    for key, bytes_ in ((theirs, wrapped), (ours, wrapped[:-1]), (ours, b"\x00" + wrapped[1:]), (ours, b"")):
        with pytest.raises(SealError):
            key.unwrap(bytes_)


def test_a_key_is_a_line_of_text() -> None:
    """The file of a key holds what comes back, and shows in no repr."""
    key = KeyEncryptionKey.generate()
    assert KeyEncryptionKey.parse(key.line()) == key
    assert key.line().strip() not in repr(key)
    for line in ("", "short", "AAAA", "not base64!"):
        with pytest.raises(SealError):
            KeyEncryptionKey.parse(line)


def test_a_commitment_cannot_be_guessed_without_the_salt() -> None:
    """The same content under another salt or kind gives another commitment; boundaries count."""
    salt = bytes(32)
    one = commitment(salt, "input", b"yes")
    assert one == commitment(salt, "input", b"yes")
    others = {
        commitment(bytes([1]) + bytes(31), "input", b"yes"),
        commitment(salt, "scores", b"yes"),
        commitment(salt, "input", b"no"),
        commitment(b"", "input", salt + b"yes"),
    }
    assert one not in others
    assert len(others) == 4
