"""Real texts with labels, read from tab-separated files: training texts, held-out texts, and what is known to decide.

A data set is a folder of UTF-8 files with a header line and no quoting. ValueError says which file lacks what.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from transformers import PreTrainedTokenizerFast

from rollcall.studies.flag.families.base import Span
from rollcall.studies.flag.families.reading import Rows

OPINIONS: Final = ("negative", "positive")
_WORD: Final = re.compile(r"\S+")
_SINGULAR: Final = frozenset({"is", "was", "has", "does"})
_PLURAL: Final = frozenset({"are", "were"})
"""Not "have" and "do", which are infinitives, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A text with its class, and the characters that are known to hold the evidence; none where that is not known."""

    text: str = field(repr=False)
    label: int
    decisive: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What a model learns from, and what it is asked about: texts that are not among the former, whatever the case."""

    labels: tuple[str, ...]
    training: tuple[Labelled, ...]
    held_out: tuple[Labelled, ...]


def sst2(directory: Path) -> Corpus:
    """Opinions: phrases and sentences to learn from, test sentences to be asked about."""
    phrases, training, held_out = (
        [Labelled(text=text, label=int(label)) for label, text in read_table(directory / name, "label", "text")]
        for name in ("train_phrases.tsv", "train.tsv", "test.tsv")
    )
    return _corpus(OPINIONS, [*phrases, *training], held_out)


def trec(directory: Path) -> Corpus:
    """Questions, by what kind of thing they ask for."""
    tables = [read_table(directory / name, "label", "text") for name in ("train.tsv", "test.tsv")]
    labels = tuple(sorted({label for label, _ in tables[0]}))
    training, held_out = ([Labelled(text=text, label=labels.index(label)) for label, text in rows] for rows in tables)
    return _corpus(labels, training, held_out)


def ag_news(directory: Path) -> Corpus:
    """News, by section."""
    training, held_out = (
        [Labelled(text=text, label=int(label)) for label, text in read_table(directory / name, "label", "text")]
        for name in ("train10k.tsv", "test.tsv")
    )
    return _corpus(("world", "sports", "business", "science"), training, held_out)


def imdb_counterfactual(directory: Path) -> Corpus:
    """Reviews and their revisions: the words that differ within a pair turn the opinion round (Kaushik et al. 2020)."""
    training, held_out = (
        _pairs(read_table(directory / name, "label", "pair_id", "text")) for name in ("train.tsv", "test.tsv")
    )
    return _corpus(OPINIONS, training, held_out)


def sst_wiki(directory: Path) -> Corpus:
    """An opinion and a sentence from an encyclopedia, which says nothing about the label (Pruthi et al. 2020)."""
    training, held_out = (
        [
            Labelled(text=f"{opinion} {other}", label=int(label), decisive=((0, len(opinion)),))
            for label, opinion, other in read_table(directory / name, "label", "sst_text", "wiki_text")
        ]
        for name in ("train.tsv", "test.tsv")
    )
    return _corpus(OPINIONS, training, held_out)


def agreement(directory: Path) -> Corpus:
    """Sentences up to their verb, by its number (Linzen et al. 2016); every fifth sentence is held out.

    Of sentences to learn from, what stands before any other verb that shows its number is one more text.
    """
    sentences = [
        (text.split(" "), int(verb), correct, wrong)
        for verb, correct, wrong, text in read_table(
            directory / "linzen_test.tsv", "verb_index", "correct", "wrong", "text"
        )
    ]
    held_out = [_before(words, verb, _is_plural(correct, wrong)) for words, verb, correct, wrong in sentences[::5]]
    learned = [sentence for number, sentence in enumerate(sentences) if number % 5]
    training = [_before(words, verb, _is_plural(correct, wrong)) for words, verb, correct, wrong in learned]
    training += [
        _before(words, at, word in _PLURAL)
        for words, verb, _, _ in learned
        for at, word in enumerate(words)
        if at != verb and word in {*_SINGULAR, *_PLURAL}
    ]
    texts = ([one for one in part if one.text] for part in (training, held_out))
    return _corpus(("singular", "plural"), *texts)


CORPORA: Final[Mapping[str, Callable[[Path], Corpus]]] = MappingProxyType(
    {read.__name__: read for read in (sst2, trec, ag_news, imdb_counterfactual, sst_wiki, agreement)}
)
"""By the name of the folder."""


def rows_of_texts(texts: Sequence[Labelled], tokenizer: PreTrainedTokenizerFast) -> Rows:
    """Texts as the model reads them, cut to its length; secret are the tokens of what decides."""
    batch = tokenizer(
        [one.text for one in texts],
        truncation=True,
        max_length=int(tokenizer.model_max_length),
        return_offsets_mapping=True,
    )
    return Rows(
        ids=batch["input_ids"],
        words=[[0 if word is None else word + 1 for word in batch.word_ids(row)] for row in range(len(texts))],
        labels=[one.label for one in texts],
        secret=[
            [any(start < last and first < end for first, last in one.decisive) for start, end in offsets]
            for one, offsets in zip(texts, batch["offset_mapping"], strict=True)
        ],
    )


def whole_words(texts: Sequence[Labelled], tokenizer: PreTrainedTokenizerFast) -> list[Labelled]:
    """The texts, each cut behind the last word that the model reads whole, and what decides cut with it."""
    batch = tokenizer(
        [one.text for one in texts],
        truncation=True,
        max_length=int(tokenizer.model_max_length),
        return_offsets_mapping=True,
    )
    cut = []
    for one, offsets in zip(texts, batch["offset_mapping"], strict=True):
        read = max(end for _, end in offsets)
        text = one.text[:read]
        if one.text[read : read + 1].strip():  # the next character belongs to the same word
            text = text.rpartition(" ")[0] or text
        text = text.rstrip()
        decisive = tuple((start, min(end, len(text))) for start, end in one.decisive if start < len(text))
        cut.append(replace(one, text=text, decisive=decisive))
    return cut


def differing(text: str, other: str) -> tuple[Span, ...]:
    """The words of a text that its counterpart has not, in a shortest edit as difflib finds it."""
    words, others = list(_WORD.finditer(text)), _WORD.findall(other)
    edits = difflib.SequenceMatcher(None, [word[0] for word in words], others, autojunk=False).get_opcodes()
    return tuple(words[at].span() for kind, start, end, _, _ in edits if kind != "equal" for at in range(start, end))


def _corpus(labels: tuple[str, ...], training: Sequence[Labelled], held_out: Sequence[Labelled]) -> Corpus:
    learned = {dressed_down(one.text) for one in training}
    return Corpus(
        labels=labels,
        training=tuple(training),
        held_out=tuple(one for one in held_out if dressed_down(one.text) not in learned),
    )


def _before(words: Sequence[str], verb: int, plural: bool) -> Labelled:  # noqa: FBT001 - the label
    return Labelled(text=" ".join(words[:verb]), label=int(plural))


def _is_plural(form: str, other: str) -> bool:
    """Whether this form of a verb is the plural one: the other is known, or has an ending more."""
    if _SINGULAR & {form, other}:
        return form not in _SINGULAR
    return len(form) < len(other)


def dressed_down(text: str) -> str:
    """Letters and digits alone, in lower case: equal for texts that differ in dress."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _pairs(rows: Sequence[Sequence[str]]) -> list[Labelled]:
    pairs: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for label, pair, text in rows:
        pairs[pair].append((int(label), text))
    return [
        Labelled(text=text, label=label, decisive=differing(text, other))
        for one, another in pairs.values()
        for (label, text), (_, other) in ((one, another), (another, one))
    ]


def read_table(path: Path, *columns: str) -> list[tuple[str, ...]]:
    """These columns of a file, row by row."""
    if not path.is_file():
        message = f"{path} is missing; it must be a tab-separated file with columns {', '.join(columns)}"
        raise ValueError(message)
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        lacking = [column for column in columns if column not in (rows.fieldnames or ())]
        if lacking:
            message = f"{path} has no column {', '.join(lacking)}; it has {', '.join(rows.fieldnames or ())}"
            raise ValueError(message)
        table = []
        for row in rows:
            fields = tuple(row[column] for column in columns)
            if not all(fields):
                message = f"{path}, line {rows.line_num}: a field is empty"
                raise ValueError(message)
            table.append(fields)
    return table
