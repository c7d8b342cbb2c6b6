"""What identifies people is masked in a text that keeps its places; what only looks like it is not."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.audit.redacting import MASK, NONE_OF_ITS_OWN, Recognisers, iban, luhn, mask

FOUND = {
    "mail": ["anna.smith+news@mail.example.org", "o'brien@example.com"[2:], "ünal@straße.example"],
    "phone": [
        "+49 (0)30 1234-567", "0049 30 123456", "030/123 45 67", "(555) 123-4567", "555-123-4567", "+1.555.123.4567",
    ],
    "iban": [
        "DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "GB82 WEST 1234 5698 7654 32", "no9386011117947",
    ],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
    "ip": ["192.168.0.1", "2001:db8::1", "fe80:0:0:0:0:0:0:1"],
}  # fmt: skip
"""Addresses of documentation, and numbers that banks and card schemes publish for tests."""
NOT_FOUND = [
    "2026-11-27", "27.11.2026", "at 12:30:45", "1,234,567.89", "version 1.2.3", "v1.2.3.4.5", "999.1.2.3",
    "DE88370400440532013000", "4111 1111 1111 1112", "0000 0000 0000 0000", "me@home", "3:2", "Order 1234567",
    "The film cost $200,000,000.",
]  # fmt: skip


@pytest.mark.parametrize(("what", "piece"), [(what, piece) for what, pieces in FOUND.items() for piece in pieces])
def test_what_identifies_people_is_found(what: str, piece: str) -> None:
    """Wherever it stands in a sentence, and nothing around it."""
    for before, after in (("", ""), ("Write to ", " please."), ("(", ")"), ("so: ", ", and on")):
        text = f"{before}{piece}{after}"
        spans = NONE_OF_ITS_OWN.spans(text)
        assert [(text[span.start : span.end].strip("("), span.what) for span in spans] == [(piece.strip("("), what)], (
            text
        )


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_only_looks_like_it_is_left(text: str) -> None:
    """Dates, amounts and versions, and numbers whose check digit is wrong."""
    assert NONE_OF_ITS_OWN.spans(text) == ()


def test_a_mask_keeps_the_places() -> None:
    """What comes behind is where it was."""
    text = "Mail anna@example.org, or call +49 30 1234567 now."
    masked = mask(text, NONE_OF_ITS_OWN.spans(text))
    assert masked == f"Mail {MASK * 16}, or call {MASK * 14} now."
    assert masked.index("now") == text.index("now")


@given(st.text(max_size=200))
def test_any_text_keeps_its_length_and_what_is_not_masked(text: str) -> None:
    """Spans lie in the text, in order, apart from each other; masked, nothing further is found in their place."""
    spans = NONE_OF_ITS_OWN.spans(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    masked = mask(text, spans)
    assert len(masked) == len(text)
    hidden = {place for span in spans for place in range(span.start, span.end)}
    assert all(masked[i] == (MASK if i in hidden else text[i]) for i in range(len(text)))


@given(st.integers(0, 10**14 - 1))
def test_one_wrong_digit_is_no_card(number: int) -> None:
    """Of the ten digits that may come last exactly one is right."""
    right = [digit for digit in range(10) if luhn(f"{number:014d}{digit}")]
    assert len(right) == (0 if number == 0 else 1) or len(set(f"{number:014d}")) == 1


@given(st.integers(0, 10**18 - 1))
def test_one_wrong_pair_is_no_iban(account: int) -> None:
    """Check digits are 98 less the remainder of the rest (ISO 13616); with others it is none."""
    digits = 98 - int(f"{account:018d}131400") % 97
    assert iban(f"DE{digits:02d}{account:018d}")
    assert not iban(f"DE{(digits + 1) % 97:02d}{account:018d}")


def test_operators_have_patterns_of_their_own() -> None:
    """Customer numbers, say; what overlaps is one piece. A mistake names the pattern, and quotes no text."""
    own = Recognisers.parse("customer = 'C-\\d{6}'\n'contract no' = '\\d{3}-VX'\n")
    text = "C-123456@example.org has 123-VX"
    assert [(text[span.start : span.end], span.what) for span in own.spans(text)] == [
        ("C-123456@example.org", "mail"),
        ("123-VX", "contract no"),
    ]
    for content, problem in (
        ("a = '('", "a: expected a regular expression"),
        ("a = 3", "a: expected a regular expression"),
        ("a = '.*'", "a: must not match an empty text"),
        ("a", "Expected"),
    ):
        with pytest.raises(ValueError, match=problem):
            Recognisers.parse(content)


def test_long_texts_are_masked_in_no_time() -> None:
    """Nothing in a text makes a pattern go back and forth."""
    for piece in ("a", "1", "1 ", "a.", "1.", ":", "(0", "DE12", "a@", "a-", "+1 ("):
        assert len(mask(piece * 50_000, NONE_OF_ITS_OWN.spans(piece * 50_000))) == len(piece) * 50_000
