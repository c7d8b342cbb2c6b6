"""Hostile characters are shown, never obeyed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall_client.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u202eevil\u202c", "\\u202eevil\\u202c"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("naïve 漢字 🙂", "naïve 漢字 🙂"),
    ],
)
def test_shows_what_would_command_or_hide(text: str, shown: str) -> None:
    """Escapes, reordering and invisible characters become readable; ordinary writing stays."""
    assert visible(text) == shown


@given(st.text())
def test_nothing_dangerous_is_left(text: str) -> None:
    """No control, reordering or separator character survives, and nothing is lost silently."""
    shown = visible(text)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert {character for character in shown if unicodedata.category(character) == "Cf"} <= {"\u200c", "\u200d"}
    assert visible(shown) == shown
    assert len(shown) >= len(text)
