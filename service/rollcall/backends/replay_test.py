"""Whether what is recorded once gives the same, to the last bit, as work done anew: tried when a model is loaded."""

from __future__ import annotations

import logging
from math import inf
from typing import Protocol

import numpy as np
import torch

from rollcall.backends.base import AttentionReductions, BatchRow, CaptureRequest, Differentiable, variants
from rollcall.backends.replays import RECORDED_AT, Replays
from rollcall.backends.self_test import at_most
from rollcall.backends.sharing import rows_of_each_kind
from rollcall.backends.tensors import to_host, worst
from rollcall.domain.decision import Decision
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import DEFAULT_MAPS, Floats, MapOptions
from rollcall.domain.model import SelfTest
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

LENGTHS = (11, 40)
SEEDS = (0, 1)
POINTS = (0.5,)
CALLS = RECORDED_AT + 2
"""Of each input: what is recorded with one is replayed with both."""


class Replaying(Differentiable, Protocol):
    """A backend that can record."""

    replays: Replays


def try_replays(backend: Replaying, replays: Replays) -> SelfTest:
    """Leave a backend with these replays if they change nothing, and with none if they do."""
    none = backend.replays
    try:
        error = worst(_error(backend, none, replays, length) for length in LENGTHS)
    except Exception as failure:  # noqa: BLE001 - a model that cannot be recorded is run as usual
        logs.event(_log, logging.INFO, "replays_not_possible", error=failure)
        error = inf
    found = at_most("replays_are_exact", error, 0, "Recorded work differs from work done anew by", required=False)
    backend.replays = replays if found.passed else none
    return found


def _error(backend: Replaying, none: Replays, replays: Replays, length: int) -> float:
    """Largest difference over inputs of one length, calls, and everything that is asked of them."""
    encodings = [backend.synthetic(min(length, backend.shape.max_tokens), seed) for seed in SEEDS]
    backend.replays = none
    expected = [_everything(backend, encoding) for encoding in encodings]
    backend.replays = replays
    differences = []
    for _ in range(CALLS):
        for encoding, known in zip(encodings, expected, strict=True):
            found = _everything(backend, encoding)
            differences += [float(np.abs(a - b).max()) for a, b in zip(found, known, strict=True)]
    return worst(differences)


def _everything(backend: Replaying, encoding: Encoding) -> list[Floats]:
    """A prediction, a batch of rows of each kind, a capture with gradients, and gradients half-way, on the host."""
    found = to_host(backend.predict(variants(encoding, [Row()])))
    output = backend.run(_rows(encoding))
    states = [] if output.readouts is None else [output.readouts]
    found += to_host(output.logits, *states, *_attention(output.permuted))
    captured = backend.capture(
        encoding,
        CaptureRequest(
            maps=frozenset(DEFAULT_MAPS).intersection(backend.maps),
            options=MapOptions(),
            decide=lambda logits: Decision(task=backend.task, target=int(np.argmax(logits))),
            attention=None,
        ),
    )
    gradients = [each for each in (captured.state, captured.norms, captured.gradients) if each is not None]
    found += to_host(captured.logits, *gradients, *_attention(captured.attention))
    path = backend.path_gradients(encoding, captured.decision, POINTS)
    return [*found, *to_host(path.along, path.at)]


def _attention(reductions: AttentionReductions | None) -> list[torch.Tensor]:
    return [] if reductions is None else [*reductions.fused, reductions.readout]


def _rows(encoding: Encoding) -> list[BatchRow]:
    """Rows of each kind, two of them permuted, each input's by seeds of its own: what a recording keeps would show."""
    seed = encoding.length + int(encoding.input_ids[1])
    return [
        *rows_of_each_kind(encoding, seed=seed),
        *variants(encoding, [Row(edit=AttentionEdit.PERMUTED, seed=seed + 1)]),
    ]
