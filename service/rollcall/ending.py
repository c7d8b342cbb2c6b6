"""How a command ends."""

from __future__ import annotations

DONE, FAILED, WRONG = 0, 1, 2
"""Exit codes: it is done, it failed, the options or the settings are wrong."""


class CommandError(Exception):
    """A command cannot do what it was asked: its exit code, and one line for each reason."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.code = code
        self.lines = lines
