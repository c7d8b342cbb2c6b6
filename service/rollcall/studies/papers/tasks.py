"""The tasks of the papers on the data that are at hand: texts to learn from, to choose an epoch by, and to ask about.

No text of one part is among those of another, whatever the case. Nothing is ever chosen by the texts that are asked
about.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rollcall.studies.flag.families.corpora import OPINIONS, Labelled, dressed_down, read_table
from rollcall.studies.flag.families.texts import chance_of

WORLD, BUSINESS = 0, 2
DEV_SHARE: Final = 0.1
"""Of the texts to learn from, where a data set has no part of its own to choose by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Texts with labels in three parts; `tokens` is the most that a model is to read of one."""

    name: str
    labels: tuple[str, ...]
    tokens: int
    training: tuple[Labelled, ...]
    dev: tuple[Labelled, ...]
    held_out: tuple[Labelled, ...]

    def shortened(self, texts: int) -> Task:
        """The same task with so many texts to learn from."""
        return Task(
            name=self.name,
            labels=self.labels,
            tokens=self.tokens,
            training=self.training[:texts],
            dev=self.dev[:texts],
            held_out=self.held_out,
        )


def sst2(data: Path) -> Task:
    """Opinions of one sentence; no phrases, as in the papers."""
    parts = [_labelled(data / "sst2" / f"{part}.tsv") for part in ("train", "dev", "test")]
    return _task("sst2", OPINIONS, 64, *parts)


def imdb(data: Path) -> Task:
    """Reviews and their human revisions, which turn the opinion round: the originals alone are too few."""
    parts = [_labelled(data / "imdb_counterfactual" / f"{part}.tsv") for part in ("train", "dev", "test")]
    return _task("imdb", OPINIONS, 192, *parts)


def ag_news(data: Path) -> Task:
    """World against business, as the papers have it. Headlines, which only the test part has, are left off."""
    folder = data / "ag_news"
    asked = [_without_headline(one) for one in _labelled(folder / "test.tsv")]
    parts = [
        [Labelled(text=one.text, label=int(one.label == BUSINESS)) for one in some if one.label in {WORLD, BUSINESS}]
        for some in (*_split(_labelled(folder / "train10k.tsv"), "ag_news"), asked)
    ]
    return _task("ag_news", ("world", "business"), 96, *parts)


def sst_wiki(data: Path) -> Task:
    """An opinion, and a sentence of an encyclopedia that says nothing about the label (Pruthi et al. 2020)."""
    parts = [
        [
            Labelled(text=f"{opinion} {other}", label=int(label), decisive=((0, len(opinion)),))
            for label, opinion, other in read_table(data / "sst_wiki" / f"{part}.tsv", "label", "sst_text", "wiki_text")
        ]
        for part in ("train", "dev", "test")
    ]
    return _task("sst_wiki", OPINIONS, 128, *parts)


TASKS: Final[Mapping[str, Callable[[Path], Task]]] = MappingProxyType(
    {read.__name__: read for read in (sst2, imdb, ag_news, sst_wiki)}
)
"""Single-sequence tasks by name; each is given the folder of all data sets."""


def shuffled(texts: Sequence[Labelled], *purpose: object) -> list[Labelled]:
    """The texts in an order of their own for each purpose."""
    order = list(texts)
    chance_of(*purpose).shuffle(order)
    return order


def _labelled(path: Path) -> list[Labelled]:
    return [Labelled(text=text, label=int(label)) for label, text in read_table(path, "label", "text")]


def _without_headline(one: Labelled) -> Labelled:
    """A news item's text behind its headline; the data set joins them by a full stop between spaces."""
    headline, _, text = one.text.partition(" . ")
    return Labelled(text=text or headline, label=one.label)


def _split(texts: Sequence[Labelled], name: str) -> tuple[list[Labelled], list[Labelled]]:
    """Texts to learn from, and those to choose by: the same ones for every seed of a model."""
    mixed = shuffled(texts, name, "dev")
    dev = int(len(mixed) * DEV_SHARE)
    return mixed[dev:], mixed[:dev]


def _task(
    name: str,
    labels: tuple[str, ...],
    tokens: int,
    training: Sequence[Labelled],
    dev: Sequence[Labelled],
    held_out: Sequence[Labelled],
) -> Task:
    """Leave out of each part what is in a part before it, and repetitions."""
    seen: set[str] = set()
    parts = []
    for some in (training, dev, held_out):
        kept = []
        for one in some:
            bare = dressed_down(one.text)
            if bare not in seen:
                seen.add(bare)
                kept.append(one)
        parts.append(kept)
    random.Random(name).shuffle(parts[0])  # noqa: S311 - an order, no secret
    return Task(
        name=name,
        labels=labels,
        tokens=tokens,
        training=tuple(parts[0]),
        dev=tuple(parts[1]),
        held_out=tuple(parts[2]),
    )
