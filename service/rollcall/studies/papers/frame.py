"""What a study of a paper is: a question, the data that it needs, and a run that gives a `Result`.

A run does its work in parts through its `Context`, which writes each finished part into a journal: a run that was
stopped goes on where it was. A `Result` is values alone; `page.py` and `pictures.py` turn it into files.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tqdm import tqdm

from rollcall.studies.journal import Journal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUICK_FORM: Final = 2
"""Counted up when what any study runs in its reduced form changes, so that journals of before are refused."""

Json: TypeAlias = Any
"""What `json` writes and reads back the same: no tuples, no keys that are not strings, no NaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One published figure beside ours, all in words; `published` says where it stands if it is not the abstract.

    `differs` is an honest sentence: what is not the same about the two, and, where they lie apart, that they do.
    """

    quantity: str
    published: str
    ours: str
    setting: str
    """Data and model."""
    differs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sign or an ordering that the paper claims, whether it holds here, and the numbers that say so.

    Never a number that was tuned: a claim must be one that could fail.
    """

    claim: str
    holds: bool
    seen: str
    clear: bool = True
    """Whether the reduced form shows it by a clear margin with every seed that was tried; if not, it is told there,
    and `--quick --check` does not fail by it."""

    def fails(self, *, quick: bool) -> bool:
        """Whether a check has to fail by it."""
        return not self.holds and (self.clear or not quick)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """More of the report, in Markdown, under a title."""

    title: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A plot: file name without ending, one sentence for people who do not see it, and how it is drawn."""

    name: str
    caption: str
    draw: Callable[[Figure], None]
    inches: tuple[float, float] = (7.0, 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a study found. `summary` is Markdown: what was reproduced, what was not, and what follows from it."""

    summary: str
    comparisons: tuple[Comparison, ...]
    claims: tuple[Claim, ...]
    findings: Mapping[str, Json] = field(repr=False)
    """Every number behind the tables and plots."""
    sections: tuple[Section, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a run is given. `data` is the folder of data sets; those that the study names are in it.

    `models` is a folder for trained weights, shared by all studies: name what lies there by digest of its recipe.
    """

    quick: bool
    seeds: tuple[int, ...]
    data: Path
    models: Path
    journal: Journal
    quiet: bool = False
    tasks: tuple[str, ...] = ()
    """Names of the only tasks that are asked for; all of a study's, if none are named."""

    def wanted(self, names: Iterable[str]) -> list[str]:
        """Those of a study's tasks that are asked for, in its order; ValueError where that leaves none."""
        every = list(names)
        found = [name for name in every if not self.tasks or name in self.tasks]
        if not found:
            message = f"none of its tasks is asked for; it has {', '.join(every)}"
            raise ValueError(message)
        return found

    def part(self, name: str, make: Callable[[], Json]) -> Json:
        """The part of this name from the journal; made, and written there, where it is not. Names carry their seed."""
        for line in self.journal.done:
            if line["part"] == name:
                return line["found"]
        self.journal.add({"part": name, "found": make()})
        return self.journal.done[-1]["found"]

    def parts(self, label: str, names: Sequence[str], make: Callable[[str], Json]) -> dict[str, Json]:
        """Several parts one after the other under a progress bar, by name."""
        found = {}
        with tqdm(names, desc=label, unit="part", disable=self.quiet, file=sys.stderr) as bar:
            for name in bar:
                bar.set_postfix_str(name)
                found[name] = self.part(name, partial(make, name))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One paper as a command. `data` names the folders that it needs; without all of them it is left out.

    `generation` is counted up when the code changes what is found, so that journals of before are refused.
    """

    name: str
    title: str
    paper: str
    """Authors, year, title, and its number at arXiv."""
    question: str
    """The question that the paper answers, as one sentence."""
    data: tuple[str, ...]
    quick_seeds: int
    full_seeds: int
    run: Callable[[Context], Result]
    generation: int = 1

    def lacking(self, data: Path | None) -> list[str]:
        """Names of the data sets that are not there."""
        return [name for name in self.data if data is None or not (data / name).is_dir()]

    def digests(self, data: Path) -> dict[str, str]:
        """By data set, a digest over its tables: what a journal and a report are of."""
        return {name: _digest(data / name) for name in self.data}


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.glob("*.tsv")):
        whole.update(path.name.encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return f"sha256:{whole.hexdigest()}"
