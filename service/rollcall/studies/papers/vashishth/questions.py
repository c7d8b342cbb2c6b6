"""The same kind of texts asked in three ways: one text, two texts to be compared, and a text whose next word is sought.

The pair task has the texts and labels of the single-sequence task: what differs is the question alone. Held-out texts
are of the data sets' test parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from transformers import PreTrainedTokenizerFast

from rollcall.domain.inputs import TextInput
from rollcall.studies.flag.families.corpora import OPINIONS, dressed_down, read_table
from rollcall.studies.flag.families.reading import Rows
from rollcall.studies.flag.families.texts import chance_of
from rollcall.studies.papers.recurrent.library import vocabulary
from rollcall.training.pieces import SPECIAL_PIECES, piece_tokenizer

MOST_WORDS: Final = 20
"""Of one text: phrases and sentences of the treebank that are longer are left out."""
NEXT_WORDS: Final = 50
"""The commonest words, among which the next one is sought."""
PREFIX_WORDS: Final = range(4, 16)
POSITIONS: Final = 64
MOST_PIECES: Final = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An input with its answer."""

    text: str = field(repr=False)
    other: str | None = field(default=None, repr=False)
    label: int

    @property
    def input(self) -> TextInput:
        """As a caller sends it."""
        return TextInput(text=self.text, text_pair=self.other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """A task: what is learnt from, and what is asked."""

    kind: str
    labels: tuple[str, ...]
    training: tuple[Question, ...]
    held_out: tuple[Question, ...]

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Over the words of what is learnt from. It gives no types: both texts of a pair are of the first."""
        texts = [text for one in self.training for text in (one.text, one.other) if text is not None]
        return piece_tokenizer([*SPECIAL_PIECES, *vocabulary(texts)[:MOST_PIECES]], positions=POSITIONS)

    @property
    def chance(self) -> float:
        """What the commonest answer gets right of the held-out ones."""
        return Counter(one.label for one in self.held_out).most_common(1)[0][1] / len(self.held_out)


def rows_of(questions: Sequence[Question], tokenizer: PreTrainedTokenizerFast) -> Rows:
    """Questions as the model reads them; nothing is known of what decides."""
    others = [one.other for one in questions if one.other is not None]
    batch = tokenizer([one.text for one in questions], others or None, truncation=True, max_length=POSITIONS)
    ids: list[list[int]] = batch["input_ids"]
    words = [[0 if word is None else word + 1 for word in batch.word_ids(row)] for row in range(len(ids))]
    return Rows(
        ids=ids,
        words=words,
        labels=[one.label for one in questions],
        secret=[[False] * len(row) for row in ids],
    )


def single(data: Path, training: int, asked: int) -> Questions:
    """Is the opinion of a text good or bad?"""
    learnt, held_out = _opinions(data)
    return Questions(
        kind="single",
        labels=OPINIONS,
        training=tuple(Question(text=text, label=label) for label, text in learnt[:training]),
        held_out=tuple(Question(text=text, label=label) for label, text in held_out[:asked]),
    )


def pair(data: Path, training: int, asked: int) -> Questions:
    """Do two texts have the same opinion?"""
    learnt, held_out = _opinions(data)
    return Questions(
        kind="pair",
        labels=("different", "same"),
        training=_pairs(learnt, training, "training"),
        held_out=_pairs(held_out, asked, "held out"),
    )


def next_word(data: Path, training: int, asked: int) -> Questions:
    """Which of the commonest words comes next in a review?"""
    learnt, held_out = (
        [dressed_down(text).split() for (text,) in read_table(data / "imdb_counterfactual" / name, "text")]
        for name in ("train.tsv", "test.tsv")
    )
    counts = Counter(word for words in learnt for word in words)
    labels = tuple(word for word, _ in counts.most_common(NEXT_WORDS))
    return Questions(
        kind="next word",
        labels=labels,
        training=_prefixes(learnt, labels, training, "training"),
        held_out=_prefixes(held_out, labels, asked, "held out"),
    )


KINDS: Final[Mapping[str, Callable[[Path, int, int], Questions]]] = MappingProxyType(
    {"single": single, "pair": pair, "next word": next_word}
)
"""By name: given the folder of all data sets, and how many questions to learn from and to ask."""


def _opinions(data: Path) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Phrases and sentences with their labels, in a mixed order; no held-out one is among those to learn from."""
    tables = [
        [(int(label), text) for name in names for label, text in read_table(data / "sst2" / name, "label", "text")]
        for names in (("train_phrases.tsv", "train.tsv"), ("test.tsv",))
    ]
    learnt, held_out = ([one for one in table if len(one[1].split()) <= MOST_WORDS] for table in tables)
    known = {dressed_down(text) for _, text in learnt}
    held_out = [one for one in held_out if dressed_down(one[1]) not in known]
    for purpose, some in (("learnt", learnt), ("held out", held_out)):
        chance_of("vashishth", purpose).shuffle(some)
    return learnt, held_out


def _pairs(texts: Sequence[tuple[int, str]], count: int, purpose: str) -> tuple[Question, ...]:
    """Pairs of texts, half of them of the same opinion."""
    chance = chance_of("vashishth pairs", purpose)
    by_label = [[text for label, text in texts if label == wanted] for wanted in (0, 1)]
    made = []
    for number in range(count):
        first, same = chance.randrange(2), number % 2
        second = first if same else 1 - first
        made.append(Question(text=chance.choice(by_label[first]), other=chance.choice(by_label[second]), label=same))
    return tuple(made)


def _prefixes(texts: Sequence[Sequence[str]], labels: Sequence[str], count: int, purpose: str) -> tuple[Question, ...]:
    """The words before a common word, as many as chance will have it."""
    chance = chance_of("vashishth prefixes", purpose)
    numbers = {word: number for number, word in enumerate(labels)}
    made: list[Question] = []
    while len(made) < count:
        words = chance.choice(texts)
        length, at = chance.choice(PREFIX_WORDS), chance.randrange(len(words))
        if at >= length and words[at] in numbers:
            made.append(Question(text=" ".join(words[at - length : at]), label=numbers[words[at]]))
    return tuple(made)
