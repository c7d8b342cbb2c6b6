"""Our side of the work: rows through the engine, in batches such as the service cuts on a processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np

from rollcall.backends.arrangement import first_layer
from rollcall.backends.base import BatchRow
from rollcall.domain.inputs import Encoding, TextInput, TokensInput
from rollcall.domain.maps import Bools, Floats, MapOptions
from rollcall.domain.rows import Row
from rollcall.engine.engine import Engine
from rollcall.models.loading import LoadedModel, load_model
from tests.bench.peers.measure import Case
from tests.tiny import CORPUS

NAME = "peers"
BATCH_TOKENS = 512
MAX_UNITS = 256
"""So many that no words are grouped: a word is a token is a unit, and one is removed at a time."""


@dataclass(frozen=True, kw_only=True)
class Ours:
    """The model as the service loads it, and the engine that runs its rows."""

    directory: Path

    @cached_property
    def loaded(self) -> LoadedModel:
        """Loaded and proved."""
        loaded = load_model(self.directory, max_units=MAX_UNITS)
        assert not loaded.failed
        return loaded

    @cached_property
    def engine(self) -> Engine:
        """Of this model alone."""
        return Engine(models={NAME: self.loaded})

    def logits(self, work: Sequence[tuple[Encoding, Row]]) -> Floats:
        """Logits [rows, classes] of rows, each with its input: the only place here that calls the engine.

        Rows of one length share batches, whichever input they belong to; edits of the last layer share everything else.
        """
        logits: dict[int, Floats] = {}
        by_length = sorted(range(len(work)), key=lambda i: work[i][0].length)
        for length, same in groupby(by_length, key=lambda i: work[i][0].length):
            numbers = list(same)
            late = all(first_layer(work[i][1]) for i in numbers)
            size = len(numbers) if late else max(1, BATCH_TOKENS // length)
            for start in range(0, len(numbers), size):
                chunk = numbers[start : start + size]
                rows = [BatchRow(encoding=work[i][0], row=work[i][1], options=MapOptions()) for i in chunk]
                logits |= {i: found.logits for i, found in zip(chunk, self.engine.run(NAME, rows), strict=True)}
        return np.stack([logits[i] for i in range(len(work))])

    def rows(self, encoding: Encoding, rows: Sequence[Row]) -> Floats:
        """Logits [rows, classes] of rows of one input."""
        return self.logits([(encoding, row) for row in rows])

    def encode(self, text: str) -> Encoding:
        """Encode a text."""
        return self.loaded.backend.encode(TextInput(text=text))

    def encode_ids(self, ids: Sequence[int]) -> Encoding:
        """Encode vocabulary ids."""
        return self.loaded.backend.encode(TokensInput(input_ids=tuple(ids)))

    def predicted(self, case: Case) -> int:
        """The class that the model predicts for a case."""
        return int(self.rows(case.encoding, [Row()])[0].argmax())

    def cases(self, tokens: int, count: int) -> list[Case]:
        """Random texts of so many tokens: words of one token each between two special ones, none twice in a row.

        Removing either of two equal neighbours would leave the same words, and a tie between their scores.
        """
        known = sorted({word for line in CORPUS for word in line.split() if self.encode(word).length == 3})
        cases = []
        for seed in range(count):
            random = np.random.default_rng(seed)
            words = [str(random.choice(known))]
            while len(words) < tokens - 2:
                words.append(str(random.choice([word for word in known if word != words[-1]])))
            text = " ".join(words)
            cases.append(Case(text=text, encoding=self.encode(text)))
            assert cases[-1].encoding.length == tokens
            assert len(cases[-1].encoding.units) == tokens - 2
        return cases


def one_at_a_time(units: int) -> list[Bools]:
    """Every unit by itself."""
    return list(np.eye(units, dtype=bool))


def probabilities(logits: Floats) -> Floats:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def leave_one_out(ours: Ours, encoding: Encoding) -> tuple[Floats, int]:
    """Logit of the predicted class minus the same without each unit, and how many rows that took."""
    rows = [Row(), *(Row(removed=removed) for removed in one_at_a_time(len(encoding.units)))]
    logits = ours.rows(encoding, rows)
    target = int(logits[0].argmax())
    return logits[0, target] - logits[1:, target], len(rows)
