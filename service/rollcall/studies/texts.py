"""Inputs for studies and calibrations: a file of texts or text pairs, in an order drawn by a seed."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from rollcall.domain.inputs import TextInput
from rollcall.domain.seeds import random_words

TEXT_COLUMNS = ("text", "sentence")
PAIR_COLUMNS = ("text_pair", "sentence2", "text2")
TABLES = (".tsv", ".csv")


class DataError(ValueError):
    """A file of inputs cannot be read; the message says what was expected and what was found, never the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The inputs of one file in the order of the file, empty texts left out; `name` is folder and file."""

    name: str
    digest: str
    inputs: tuple[TextInput, ...] = field(repr=False)

    def order(self, seed: int) -> list[int]:
        """The order in which the inputs are taken."""
        words = random_words(seed, "texts", (len(self.inputs),))
        return [int(index) for index in np.argsort(words, kind="stable")]


def read_data(path: Path) -> Data:
    """Read .tsv, .csv (with a header), .jsonl or .txt (one text a line). Raises DataError, OSError."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{path}: not UTF-8 from byte {error.start} on"
        raise DataError(message) from error
    inputs = tuple(one for one in _inputs(path, text) if one.text.strip())
    if not inputs:
        message = f"{path}: no texts in it"
        raise DataError(message)
    return Data(
        name=f"{path.resolve().parent.name}/{path.name}",
        digest="sha256:" + hashlib.sha256(raw).hexdigest(),
        inputs=inputs,
    )


def _inputs(path: Path, text: str) -> Iterable[TextInput]:
    if path.suffix == ".txt":
        return [TextInput(text=line) for line in text.splitlines()]
    if path.suffix == ".jsonl":
        return [_input(path, number, row) for number, row in _json_lines(path, text)]
    if path.suffix not in TABLES:
        message = f"{path}: expected .tsv, .csv, .jsonl or .txt"
        raise DataError(message)
    lines = StringIO(text, newline="")
    if path.suffix == ".tsv":
        reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.DictReader(lines)
    return [_input(path, reader.line_num, row) for row in reader]


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
    return TextInput(text=row[column], text_pair=pair)
