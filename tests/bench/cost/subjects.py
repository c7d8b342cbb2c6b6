"""Texts with the rows that an explanation of each ran, and the same number of rows on the stock model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median

import numpy as np
import torch

from rollcall.backends.tensors import Inputs
from rollcall.domain.explanation import Explanation
from rollcall.domain.inputs import Encoding
from rollcall.edge.converters import replies
from tests.bench.cost.models import text
from tests.bench.cost.recording import Recording, Replaying
from tests.bench.spread import in_turn
from tests.harness import Harness, ask
from tests.tiny import Tiny

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Batch sizes that the stock model is tried with."""
STOCK_TOKENS = 4096
"""Largest batch that it is tried with."""
TRIALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A model of one size, served in this process."""

    tiny: Tiny
    harness: Harness

    def explain(self, request: str, max_rows: int | None = None) -> Explanation:
        """Explain a text and write the reply, as the service does for a caller."""
        explanation = self.harness.explain(ask(request, max_rows=max_rows))
        replies.explain_response(explanation).SerializeToString()
        return explanation

    def subject(self, tokens: int, seed: int, stock_batch: int) -> Subject:
        """Explain a text of so many tokens once, and remember what was run for it."""
        request = text(self.tiny, tokens, seed)
        recording = Recording(compute=self.harness.pipeline.compute)
        with self._computing(recording):
            explanation = self.harness.explain(request)
        looks = self.harness.told.explanations[-1][1]
        found = Subject(
            text=request, recording=recording, explanation=explanation, looks=looks, stock_batch=stock_batch
        )
        assert found.encoding.length == tokens
        return found

    def replay(self, subject: Subject) -> None:
        """Explain again with every answer of the model at hand: what is left is everything but the model."""
        seen = subject.recording
        memory = Replaying(compute=seen.compute, encoding=seen.encoding, captured=seen.captured, calls=seen.calls)
        with self._computing(memory):
            self.explain(subject.text)

    @contextmanager
    def _computing(self, compute: Recording) -> Iterator[None]:
        before = self.harness.pipeline.compute
        self.harness.pipeline.compute = compute
        try:
            yield
        finally:
            self.harness.pipeline.compute = before

    @contextmanager
    def units(self, most: int) -> Iterator[None]:
        """Have texts fall into at most so many units during the block."""
        backend = self.tiny.backend
        before = backend._encoder
        backend._encoder = replace(before, max_units=most)
        try:
            yield
        finally:
            backend._encoder = before

    @torch.no_grad()
    def stock(self, encoding: Encoding, rows: int, batch: int) -> None:
        """Run so many copies of an input on the stock model, in batches."""
        while rows > 0:
            size = min(rows, batch)
            inputs = _copies(encoding, size)
            self.tiny.sdpa(
                input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, token_type_ids=inputs.type_ids
            ).logits.double().numpy()
            rows -= size

    def best_batch(self, tokens: int) -> int:
        """Batch size with which the stock model reads most rows per second."""
        encoding = self.tiny.backend.encode(ask(text(self.tiny, tokens, 0)).input)
        sizes = {str(batch): batch for batch in BATCHES if batch * tokens <= STOCK_TOKENS}

        spent = in_turn(
            {name: partial(self.stock, encoding, batch, batch) for name, batch in sizes.items()}, repeats=TRIALS
        )
        return sizes[min(spent, key=lambda name: median(spent[name]) / sizes[name])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One text with what an explanation of it ran, and how large the stock model's best batch is for it."""

    text: str = field(repr=False)
    recording: Recording = field(repr=False)
    explanation: Explanation = field(repr=False)
    looks: int
    stock_batch: int

    @property
    def encoding(self) -> Encoding:
        """As the model reads it."""
        assert self.recording.encoding is not None
        return self.recording.encoding

    @property
    def rows(self) -> int:
        """Rows of the explanation, the capture among them."""
        return self.explanation.rows

    @property
    def checked(self) -> int:
        """Rows of its checks."""
        return sum(len(call.rows) for call in self.recording.calls)


def _copies(encoding: Encoding, count: int) -> Inputs:
    ids = torch.from_numpy(np.tile(encoding.input_ids, (count, 1)))
    types = torch.from_numpy(np.tile(encoding.type_ids, (count, 1)))
    return Inputs(input_ids=ids, attention_mask=torch.ones_like(ids), type_ids=types)
