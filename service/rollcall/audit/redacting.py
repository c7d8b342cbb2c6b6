"""Finds what identifies people in a text, and masks it character by character, so that places in the text stay. Pure.

A mask is as long as what it hides: units and spans keep their offsets, and who reads a masked text sees how long the
hidden piece was. What has a check digit is masked only where that is right: card numbers by Luhn's (ISO/IEC 7812-1),
IBANs by their remainder modulo 97 (ISO 13616). No list of patterns finds everything: names of people are not found.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

MASK = "\u2588"
MOST_PATTERNS = 50
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}(?!\w)")
_PHONE = re.compile(
    r"(?<![\w.,/-])(?:(?:\+|00)[1-9](?:[ ()./-]{0,2}\d){6,14}|\(?0[ ()/-]{0,2}[1-9](?:[ ()/-]{0,2}\d){5,12}|"
    r"(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4})(?!\w)"
)
"""International numbers (E.164: at most 15 digits), national ones with a leading zero, and those of North America."""
_IBAN = re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,30}")
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")
_ADDRESS = re.compile(
    r"(?<![\w:.])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:]|\.\d)"
)
IBAN_LENGTHS = range(15, 35)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Characters `start` to `end` of a text, and what they were taken for."""

    start: int
    end: int
    what: str


Finder = Callable[[str], Iterator[tuple[int, int]]]
"""Gives starts and ends of what it finds in a text."""


def _of(pattern: re.Pattern[str], accepts: Callable[[str], bool] = lambda _: True) -> Finder:
    return lambda text: (found.span() for found in pattern.finditer(text) if accepts(found.group()))


def luhn(number: str) -> bool:
    """Whether the last digit is right: every second digit from the right is doubled, and the sum ends in 0."""
    digits = [int(character) for character in reversed(number) if character.isdecimal()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def iban(number: str) -> bool:
    """Whether country and check digits, put last, leave 1 modulo 97, letters being 10 to 35."""
    plain = number.replace(" ", "").upper()
    if len(plain) not in IBAN_LENGTHS:
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    """The longest that is right, of each that begins like one: words may follow."""
    for found in _IBAN.finditer(text):
        whole = found.group()
        ends = (end for end in range(len(whole), 0, -1) if not whole[end : end + 1].isalnum())
        right = next((end for end in ends if iban(whole[:end])), None)
        if right is not None:
            yield found.start(), found.start() + right


def _is_address(candidate: str) -> bool:
    try:
        return bool(ipaddress.ip_address(candidate))
    except ValueError:
        return False


FINDERS: dict[str, Finder] = {
    "mail": _of(_MAIL),
    "iban": _ibans,
    "card": _of(_CARD, luhn),
    "ip": _of(_ADDRESS, _is_address),
    "phone": _of(_PHONE),
}
"""By what is found; of two that overlap the earlier, then the longer, then the first here has its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognisers:
    """What is looked for: that of FINDERS, and the operator's own patterns by their names."""

    own: Mapping[str, re.Pattern[str]]

    @classmethod
    def parse(cls, content: str) -> Recognisers:
        """Read the operator's file, TOML with NAME = 'REGULAR EXPRESSION'. Raises ValueError, naming the pattern."""
        table = tomllib.loads(content)
        if len(table) > MOST_PATTERNS:
            message = f"expected at most {MOST_PATTERNS} patterns"
            raise ValueError(message)
        own = {}
        for name, pattern in table.items():
            try:
                own[name] = re.compile(pattern)
            except (re.error, TypeError) as error:
                message = f"{name}: expected a regular expression"
                raise ValueError(message) from error
            if own[name].search(""):
                message = f"{name}: must not match an empty text"
                raise ValueError(message)
        return cls(own=own)

    def spans(self, text: str) -> tuple[Span, ...]:
        """Find everything, in the order of the text; what overlaps is one."""
        finders = FINDERS | {name: _of(pattern) for name, pattern in self.own.items()}
        found = (
            Span(start=start, end=end, what=what) for what, finder in finders.items() for start, end in finder(text)
        )
        return tuple(_merged(sorted(found, key=lambda span: (span.start, -span.end))))


NONE_OF_ITS_OWN = Recognisers(own={})


def mask(text: str, spans: Iterable[Span]) -> str:
    """Hide spans of a text; its length stays."""
    characters = list(text)
    for span in spans:
        characters[span.start : span.end] = MASK * (span.end - span.start)
    return "".join(characters)


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    last: Span | None = None
    for span in spans:
        if last is not None and span.start < last.end:
            last = Span(start=last.start, end=max(last.end, span.end), what=last.what)
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last
