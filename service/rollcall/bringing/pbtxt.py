"""Protobuf's text format without a schema, as Triton's config.pbtxt is written.

The protobuf library reads it only with the whole schema at hand: it does not pass over a list of unknown messages.
Source: protobuf.dev/reference/protobuf/textformat-spec.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

from google.protobuf.text_encoding import CUnescape

Value: TypeAlias = "str | Message"

TOKEN = re.compile(
    r"""(?P<gap>(?:\s|\#[^\n]*)+)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<word>[-+]?[A-Za-z0-9_.][A-Za-z0-9_.+-]*)
    |(?P<mark>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
CLOSING = {"{": "}", "<": ">"}
MOST_DEPTH = 50
END = ""


class NotReadError(Exception):
    """Text that is not of the format; the message says where."""


@dataclass(slots=True)
class Message:
    """Fields by name, each with its values in order: texts, also of numbers and names, and messages."""

    fields: dict[str, list[Value]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The last text of a field, as repeated scalars go; empty where there is none."""
        return next((value for value in reversed(self.fields.get(name, [])) if isinstance(value, str)), "")

    def messages(self, name: str) -> tuple[Message, ...]:
        """The messages of a field."""
        return tuple(value for value in self.fields.get(name, []) if isinstance(value, Message))


def parse(text: str) -> Message:
    """Read a message. Raises NotReadError."""
    return _Reader(text=text).message(END, depth=0)


@dataclass(slots=True)
class _Reader:
    text: str
    position: int = 0
    kind: str = END
    now: str = END

    def __post_init__(self) -> None:
        self.advance()

    def advance(self) -> None:
        """Go to the next token; at the end it is END."""
        self.kind = self.now = END
        while self.position < len(self.text):
            found = TOKEN.match(self.text, self.position)
            if found is None:
                self.fail("nothing of the format")
            self.position = found.end()
            if found.lastgroup != "gap":
                self.kind, self.now = str(found.lastgroup), found.group()
                return

    def fail(self, problem: str, cause: Exception | None = None) -> NoReturn:
        """Say what is wrong here. Raises NotReadError."""
        line = self.text.count("\n", 0, self.position) + 1
        message = f"line {line}: {problem}"
        raise NotReadError(message) from cause

    def message(self, closing: str, *, depth: int) -> Message:
        """Read fields up to a closing mark, or the end."""
        if depth > MOST_DEPTH:
            self.fail(f"more than {MOST_DEPTH} messages in each other")
        read = Message()
        while self.now != closing:
            if self.kind != "word":
                self.fail(f"expected a field, got {self.now[:20]!r}")
            name = self.now
            self.advance()
            read.fields.setdefault(name, []).extend(self.values(depth))
            if self.now in {",", ";"}:
                self.advance()
        self.advance()
        return read

    def values(self, depth: int) -> list[Value]:
        """Read what a field holds: one value, or a list of them."""
        if self.now == ":":
            self.advance()
        elif self.now not in {"{", "<", "["}:
            self.fail("expected a colon")
        if self.now != "[":
            return [self.value(depth)]
        self.advance()
        found: list[Value] = []
        while self.now != "]":
            found.append(self.value(depth))
            if self.now == ",":
                self.advance()
            elif self.now != "]":
                self.fail("expected a comma or the end of a list")
        self.advance()
        return found

    def value(self, depth: int) -> Value:
        """Read a message, a text, or a number or name as text."""
        if self.now in CLOSING:
            closing = CLOSING[self.now]
            self.advance()
            return self.message(closing, depth=depth + 1)
        if self.kind == "word":
            read = self.now
            self.advance()
            return read
        if self.kind != "string":
            self.fail(f"expected a value, got {self.now[:20]!r}")
        parts = b""
        while self.kind == "string":
            try:
                parts += CUnescape(self.now[1:-1])
            except ValueError as error:
                self.fail("a text with a wrong escape", error)
            self.advance()
        try:
            return parts.decode()
        except UnicodeDecodeError as error:
            self.fail("a text that is no UTF-8", error)
