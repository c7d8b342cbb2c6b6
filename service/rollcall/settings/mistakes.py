"""What is wrong with settings, told all at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing that is wrong: where it was written, and what was expected there."""

    place: str
    problem: str

    def __str__(self) -> str:
        """Write it as one line."""
        return f"{self.place}: {self.problem}"


class SettingsError(Exception):
    """The settings cannot be used; `mistakes` holds everything that was found."""

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes
