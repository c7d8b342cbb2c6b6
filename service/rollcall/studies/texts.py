"""Inputs for studies and calibrations: texts or pairs of a file, pictures of a folder, in an order drawn by a seed.

A file holds texts or pairs of them, never both: a calibration is about one kind of input.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from rollcall.domain.decision import Task
from rollcall.domain.inputs import ImageInput, ModelInput, TextInput, WordRef
from rollcall.domain.seeds import random_words

TEXT_COLUMNS = ("text", "sentence")
PAIR_COLUMNS = ("text_pair", "sentence2", "text2")
WORD_COLUMNS = ("word_index", "word_character")
"""For models that label words: number of the one that is asked about, from 0, or the place of one of its characters."""
TABLES = (".tsv", ".csv")
PICTURES = (".png", ".jpg", ".jpeg")


class Kind(Enum):
    """What the inputs of some data are, in the plural."""

    TEXTS = "texts"
    PAIRS = "pairs of texts"
    PICTURES = "pictures"


class DataError(ValueError):
    """Inputs cannot be read; the message says what was expected and what was found, never the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The inputs of one file in the order of the file, empty texts left out; `name` is folder and file.

    Or the pictures of a folder, in the order of their `names`.
    """

    name: str
    digest: str
    inputs: tuple[ModelInput, ...] = field(repr=False)
    names: tuple[str, ...] = field(default=(), repr=False)

    @property
    def kind(self) -> Kind:
        """What its inputs are; they are all of one kind."""
        first = self.inputs[0]
        if not isinstance(first, TextInput):
            return Kind.PICTURES
        return Kind.TEXTS if first.text_pair is None else Kind.PAIRS

    def shown(self, number: int) -> tuple[str, ...]:
        """An input as people read it: its text, with the word asked about, both of a pair, or its file's name."""
        given = self.inputs[number]
        if not isinstance(given, TextInput):
            return (self.names[number],)
        text = given.text
        if given.word is not None:
            index, character = given.word.index, given.word.character
            text += f" [{f'word {index}' if index is not None else f'the word at character {character}'}]"
        return (text,) if given.text_pair is None else (text, given.text_pair)

    def require(self, task: Task) -> None:
        """Refuse data that do not name words where the task needs them, or do where it needs none; raises DataError."""
        asked = [isinstance(one, TextInput) and one.word is not None for one in self.inputs]
        columns = " or ".join(WORD_COLUMNS)
        if task is Task.TOKEN_LABEL and not all(asked):
            message = (
                f"{self.name}: the model labels words, and which one is asked about is missing: a column {columns}"
            )
            raise DataError(message)
        if task is not Task.TOKEN_LABEL and any(asked):
            message = f"{self.name}: the model answers about whole inputs, and there is a column {columns}"
            raise DataError(message)

    def order(self, seed: int) -> list[int]:
        """The order in which the inputs are taken."""
        words = random_words(seed, "texts", (len(self.inputs),))
        return [int(index) for index in np.argsort(words, kind="stable")]


def read_data(path: Path) -> Data:
    """Read .tsv, .csv (with a header), .jsonl or .txt (one text a line), or a folder's PNG and JPEG files.

    Rows with a column of PAIR_COLUMNS are pairs: then all are, and each has both texts. Raises DataError, OSError.
    """
    if path.is_dir():
        return _pictures(path)
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{path}: not UTF-8 from byte {error.start} on"
        raise DataError(message) from error
    inputs = _of_one_kind(path, _inputs(path, text))
    if not inputs:
        message = f"{path}: no texts in it"
        raise DataError(message)
    return Data(
        name=f"{path.resolve().parent.name}/{path.name}",
        digest="sha256:" + hashlib.sha256(raw).hexdigest(),
        inputs=inputs,
    )


def _pictures(folder: Path) -> Data:
    """Every picture of a folder, by name."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES and file.is_file())
    if not files:
        message = f"{folder}: no pictures in it ({', '.join(PICTURES)})"
        raise DataError(message)
    inputs = tuple(ImageInput(data=file.read_bytes()) for file in files)
    digest = hashlib.sha256()
    for file, one in zip(files, inputs, strict=True):
        digest.update(f"{file.name}\0{len(one.data)}\0".encode() + one.data)
    return Data(
        name=folder.resolve().name,
        digest="sha256:" + digest.hexdigest(),
        inputs=inputs,
        names=tuple(file.name for file in files),
    )


def _of_one_kind(path: Path, found: Iterable[tuple[int, TextInput]]) -> tuple[TextInput, ...]:
    """The inputs without the empty ones; raises DataError for half a pair, and for a text among pairs."""
    kept: list[TextInput] = []
    for line, one in found:
        empty = [not side.strip() for side in (one.text, one.text_pair) if side is not None]
        if all(empty):
            continue
        if any(empty):
            message = f"{path}: line {line} has one text of a pair, and the other one is empty"
            raise DataError(message)
        if kept and (one.text_pair is None) is not (kept[0].text_pair is None):
            message = f"{path}: line {line}: some rows are pairs and some are not; a file holds one kind of them"
            raise DataError(message)
        kept.append(one)
    return tuple(kept)


def _inputs(path: Path, text: str) -> Iterable[tuple[int, TextInput]]:
    """Every input of a file with the number of its line."""
    if path.suffix == ".txt":
        return [(number, TextInput(text=line)) for number, line in enumerate(text.splitlines(), start=1)]
    if path.suffix == ".jsonl":
        return [(number, _input(path, number, row)) for number, row in _json_lines(path, text)]
    if path.suffix not in TABLES:
        message = f"{path}: expected .tsv, .csv, .jsonl or .txt"
        raise DataError(message)
    lines = StringIO(text, newline="")
    if path.suffix == ".tsv":
        reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.DictReader(lines)
    return [(reader.line_num, _input(path, reader.line_num, row)) for row in reader]


def _json_lines(path: Path, text: str) -> Iterable[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            message = f"{path}: line {number} is no JSON"
            raise DataError(message) from error
        if not isinstance(row, dict):
            message = f"{path}: line {number} is no JSON object"
            raise DataError(message)
        yield number, row


def _input(path: Path, number: int, row: Mapping[str, Any]) -> TextInput:
    column = next((name for name in TEXT_COLUMNS if isinstance(row.get(name), str)), None)
    if column is None:
        message = f"{path}: line {number} has no column called {' or '.join(TEXT_COLUMNS)}"
        raise DataError(message)
    pair = next((row[name] for name in PAIR_COLUMNS if isinstance(row.get(name), str)), None)
    return TextInput(text=row[column], text_pair=pair, word=_word(path, number, row))


def _word(path: Path, number: int, row: Mapping[str, Any]) -> WordRef | None:
    """Which word is asked about; raises DataError for what is no number, and for two of them."""
    told = [row.get(name) for name in WORD_COLUMNS]
    if all(place is None or place == "" for place in told):
        return None
    index, character = (int(str(place)) if str(place).isdecimal() else None for place in told)
    if (index is None) == (character is None):
        message = f"{path}: line {number} must have one number from 0 on under {' or '.join(WORD_COLUMNS)}"
        raise DataError(message)
    return WordRef(index=index, character=character)
