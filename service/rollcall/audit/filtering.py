"""The language in which records are searched for, after AIP-160: comparisons with AND, OR, NOT and parentheses. Pure.

    flag = unfaithful AND model = "fraud" AND time >= 2026-01-01 AND NOT (mismatch = true OR held = true)

Fields are those of FIELDS and nothing else. Values with anything but letters, digits and -_.:+@/ stand in double
quotes. NOT binds tighter than AND, AND tighter than OR. What a field has no value for is equal to nothing and different
from everything.

A time is the whole of what it names: 2026-11-27 is a day, 2026-11-27T15:00:00Z a second. What lies in it is equal to
it, > is after its end, and <= before its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NoReturn, TypeAlias

from rollcall.domain.errors import InvalidInput

MAX_CHARACTERS = 2_000
MAX_COMPARISONS = 50
MAX_DEPTH = 10
_TOKEN = re.compile(r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<symbol><=|>=|!=|[=<>()])|(?P<word>[\w.:+@/-]+))')
_TIME = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,3})?)?)?Z?)?)?)?")
EQUALITY = ("=", "!=")
ORDER = (*EQUALITY, "<", "<=", ">", ">=")


class FieldKind(Enum):
    """How the values of a field are read."""

    TEXT = "text"
    WORD = "word"
    """One of few words; case does not count."""
    TIME = "time"
    TRUTH = "truth"
    NAME = "name"
    """What callers call somebody or something; only looked up."""


FIELDS: dict[str, FieldKind] = {
    "record": FieldKind.TEXT,
    "explanation": FieldKind.TEXT,
    "type": FieldKind.WORD,
    "time": FieldKind.TIME,
    "tenant": FieldKind.TEXT,
    "model": FieldKind.TEXT,
    "digest": FieldKind.TEXT,
    "policy": FieldKind.TEXT,
    "predicted": FieldKind.TEXT,
    "flag": FieldKind.WORD,
    "reason": FieldKind.WORD,
    "mode": FieldKind.WORD,
    "notice": FieldKind.TRUTH,
    "mismatch": FieldKind.TRUTH,
    "erased": FieldKind.TRUTH,
    "held": FieldKind.TRUTH,
    "review": FieldKind.WORD,
    "subject": FieldKind.NAME,
    "decision": FieldKind.NAME,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A field, an operator of ORDER, and a value: True or False for TRUTH, else a text."""

    name: str
    operator: str
    value: str | bool = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """All of these; without any, everything."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Some:
    """One of these at least."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """Not this."""

    part: Filter


Filter: TypeAlias = Comparison | Every | Some | Not


def parse_filter(text: str) -> Filter:
    """Read a filter; "" asks for everything. Raises InvalidInput that says where it is wrong, and quotes no value."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput.of("filter", f"must have at most {MAX_CHARACTERS} characters")
    parser = _Parser(tokens=list(_tokens(text)))
    return parser.whole() if parser.tokens else Every(parts=())


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    at: int
    quoted: bool


def _tokens(text: str) -> Iterator[_Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise InvalidInput.of("filter", f"cannot be read from character {at + 1} on")
        string, symbol, word = found.group("string", "symbol", "word")
        start, at = found.end() - len(found.group().lstrip()), found.end()
        if string is not None:
            yield _Token(re.sub(r"\\(.)", r"\1", string[1:-1]), start, quoted=True)
        else:
            yield _Token(symbol or word, start, quoted=False)


@dataclass(slots=True, kw_only=True)
class _Parser:
    tokens: list[_Token]
    _next: int = 0
    _comparisons: int = 0

    def whole(self) -> Filter:
        found = self._some(0)
        if self._next < len(self.tokens):
            self._refuse("expected AND, OR or the end")
        return found

    def _some(self, depth: int) -> Filter:
        return self._joined("OR", lambda: self._every(depth), lambda parts: Some(parts=parts))

    def _every(self, depth: int) -> Filter:
        return self._joined("AND", lambda: self._one(depth), lambda parts: Every(parts=parts))

    def _joined(self, word: str, part: Callable[[], Filter], join: Callable[[tuple[Filter, ...]], Filter]) -> Filter:
        parts = [part()]
        while self._take(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else join(tuple(parts))

    def _one(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            self._refuse(f"expected at most {MAX_DEPTH} levels of NOT and parentheses")
        if self._take("NOT"):
            return Not(part=self._one(depth + 1))
        if self._take("("):
            found = self._some(depth + 1)
            if not self._take(")"):
                self._refuse("expected )")
            return found
        return self._comparison()

    def _comparison(self) -> Filter:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            self._refuse(f"expected at most {MAX_COMPARISONS} comparisons")
        name = self._pop(f"expected one of the fields {', '.join(FIELDS)}", lambda token: token.text in FIELDS)
        kind = FIELDS[name.text]
        operators = ORDER if kind is FieldKind.TIME else EQUALITY
        operator = self._pop(f"expected one of {' '.join(operators)}", lambda token: token.text in operators)
        value = self._pop("expected a value", lambda token: token.quoted or token.text not in {*ORDER, "(", ")"})
        found = Comparison(name=name.text, operator=operator.text, value=_value(kind, value))
        return _within(found) if kind is FieldKind.TIME else found

    def _take(self, word: str) -> bool:
        there = self._next < len(self.tokens)
        taken = there and self.tokens[self._next].text == word and not self.tokens[self._next].quoted
        self._next += taken
        return taken

    def _pop(self, expected: str, fits: Callable[[_Token], bool]) -> _Token:
        if self._next == len(self.tokens) or not fits(self.tokens[self._next]):
            self._refuse(expected)
        self._next += 1
        return self.tokens[self._next - 1]

    def _refuse(self, expected: str) -> NoReturn:
        there = self._next < len(self.tokens)
        place = f"at character {self.tokens[self._next].at + 1}" if there else "at its end"
        raise InvalidInput.of("filter", f"{expected} {place}")


def _within(found: Comparison) -> Filter:
    """Write a comparison of times as one of texts: records have all of "2026-11-27T15:00:00.500Z", a value its head.

    A head sorts before everything that begins with it, and a head with what follows no digit, after it.
    """
    begin = str(found.value).removesuffix("Z")
    end = begin + "ZZ"
    from_begin, to_end = (
        Comparison(name=found.name, operator=">=", value=begin),
        Comparison(name=found.name, operator="<", value=end),
    )
    match found.operator:
        case "=":
            return Every(parts=(from_begin, to_end))
        case "!=":
            return Not(part=Every(parts=(from_begin, to_end)))
        case "<=":
            return to_end
        case ">":
            return Comparison(name=found.name, operator=">=", value=end)
        case operator:
            return Comparison(name=found.name, operator=operator, value=begin)


def _value(kind: FieldKind, token: _Token) -> str | bool:
    place = f"at character {token.at + 1}"
    if kind is FieldKind.TRUTH:
        if token.text not in {"true", "false"}:
            raise InvalidInput.of("filter", f"expected true or false {place}")
        return token.text == "true"
    if kind is FieldKind.TIME and not _TIME.fullmatch(token.text):
        raise InvalidInput.of("filter", f"expected a time like 2026-11-27 or 2026-11-27T15:00:00Z {place}")
    return token.text.lower() if kind is FieldKind.WORD else token.text
