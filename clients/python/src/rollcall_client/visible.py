"""Text of strangers, made safe to look at.

A text can carry terminal commands (escape sequences) and characters that reorder or hide what follows them. A reader of
verdicts must see what the model saw, so such characters are shown as escapes instead of being obeyed or dropped.
"""

from __future__ import annotations

import unicodedata

# Cc controls, Cf invisible formatting (bidirectional controls, zero-width spaces, tags), Cs lone surrogates, Co private
# use, Cn unassigned, Zl and Zp line and paragraph separators.
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Zero-width joiner and non-joiner spell words in Persian and Indic scripts and emoji; they neither reorder nor hide.
_NEEDED_TO_SPELL = frozenset({"\u200c", "\u200d"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LAST_OF_TWO_DIGITS = 0xFF
_LAST_OF_FOUR_DIGITS = 0xFFFF


def visible(text: str) -> str:
    r"""The text with every control, reordering or invisible character as an escape: "\n", "\x1b", "\u202e"."""
    return "".join(_escape(character) if _is_escaped(character) else character for character in text)


def _is_escaped(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED_CATEGORIES and character not in _NEEDED_TO_SPELL


def _escape(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    number = ord(character)
    if number <= _LAST_OF_TWO_DIGITS:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= _LAST_OF_FOUR_DIGITS else f"\\U{number:08x}"
