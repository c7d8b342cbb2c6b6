"""The studies of papers, in the order of the argument. Their modules are imported when they run: they are heavy."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rollcall.studies.papers.frame import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A study's name on the command line, the question in a few words, and the module that holds its STUDY."""

    name: str
    question: str
    module: str

    def load(self) -> Study:
        """Import the study."""
        found: Study = import_module(self.module).STUDY
        return found


ENTRIES: Final[tuple[Entry, ...]] = ()
