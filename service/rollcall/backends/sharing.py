"""What a model's rows may share, tried when it is loaded, on synthetic ids. A feature that fails is switched off.

Whole results are compared, of every kind of row, with the feature and without it.
"""

from __future__ import annotations

import logging
from functools import partial
from math import inf
from typing import Protocol

import numpy as np
import torch

from rollcall.backends.arrangement import LEAST_ROWS
from rollcall.backends.base import Backend, BatchOutput, BatchRow, Differentiable, variants
from rollcall.backends.self_test import at_most
from rollcall.backends.tensors import largest_gap, worst
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import Encoding, Unit
from rollcall.domain.model import SelfTest
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.domain.verdicts import Scope
from rollcall.telemetry import logs

Tensor = torch.Tensor

_log = logging.getLogger(__name__)

LENGTHS = (3, 11, 65)
"""Tokens of the synthetic inputs: hardly any, and no multiples of what a processor takes at once."""
SIZES = (3, 5, 9)
"""Rows of the batches that must all give the same, beside each row alone and twice."""


class Shares(Backend, Protocol):
    """A backend with its switches."""

    readout_row_suffices: bool
    rows_join_late: bool


def try_features(backend: Shares, close: float) -> tuple[SelfTest, ...]:
    """Try every feature and leave it switched on where it holds; `close` is what counts as equal, relatively."""
    pairs = [(backend.synthetic(length), backend.synthetic(length, seed=1)) for length in _lengths(backend)]
    batches = [rows_of_each_kind(first)[:few] for first, _ in pairs for few in (None, *range(1, LEAST_ROWS))]
    late_batches = [_late(first, second, backend.shape.layers) for first, second in pairs]
    backend.rows_join_late = backend.readout_row_suffices = backend.batch_is_neutral = False
    plain, late_plain = ([backend.run(rows) for rows in group] for group in (batches, late_batches))

    def error(group: list[list[BatchRow]], expected: list[BatchOutput]) -> float:
        try:
            return worst(_difference(backend.run(rows), known) for rows, known in zip(group, expected, strict=True))
        except Exception as failure:  # noqa: BLE001 - a model that cannot do it at all cannot do it
            logs.event(_log, logging.INFO, "sharing_not_possible", error=failure)
            return inf

    feature = partial(at_most, required=False)
    backend.readout_row_suffices = True
    readout = worst((error(batches, plain), error(late_batches, late_plain)))
    backend.readout_row_suffices = readout <= close
    backend.rows_join_late = True
    late = error(late_batches, late_plain)
    backend.rows_join_late = late <= close
    return (
        feature(
            "readout_row_suffices", readout, close, "With the read-out query alone in the last layer results differ by"
        ),
        feature("rows_join_late", late, close, "Rows that join at their first edited layer differ by"),
        try_company(backend),
    )


def try_company(backend: Backend, scope: Scope = Scope.ALL_LAYERS) -> SelfTest:
    """Whether a row's numbers depend on the rest of its batch, and so the backend's numerical floor; sets both."""
    inputs = [backend.synthetic(length) for length in _lengths(backend)]
    changes = worst(_company_changes(backend, rows_of_each_kind(each, scope)) for each in inputs)
    backend.batch_is_neutral = changes == 0
    found = (_noise(backend, variants(each, [Row()])) for each in inputs)
    backend.noise = worst((backend.noise, changes, *found))
    return at_most("batch_is_neutral", changes, 0, "Results differ between batches by", required=False)


def _lengths(backend: Backend) -> list[int]:
    longest = backend.shape.max_tokens
    return [longest] if backend.shape.fixed_length else [length for length in LENGTHS if length <= longest]


def decomposition_error(backend: Differentiable, close: float) -> SelfTest:
    """Whether the parts of the logits of synthetic inputs sum to them, for every class; `close` relatively."""
    errors = []
    try:
        for length in _lengths(backend):
            encoding = backend.synthetic(length)
            for target in range(backend.shape.classes):
                # One label of several for itself: its direction is its own logit.
                parts = backend.decompose(encoding, Decision(task=Task.MULTI_LABEL, target=target))
                found = parts.tokens.sum() + parts.biases
                errors.append(largest_gap(found, parts.total) / max(1.0, float(parts.total.abs())))
    except Exception as failure:  # noqa: BLE001 - a model that cannot do it at all cannot do it
        logs.event(_log, logging.INFO, "decomposition_not_possible", error=failure)
        errors.append(inf)
    says = "Parts of a logit and the logit differ, relatively, by"
    return at_most("decomposition_is_exact", worst(errors), close, says, required=False)


def synthetic_input(length: int, vocabulary: int, special: tuple[int, int], seed: int = 0) -> Encoding:
    """An input of random ids between two special ones; every inner token is a unit."""
    ids = np.random.default_rng((length, seed)).integers(0, vocabulary, size=length)
    ids[[0, -1]] = special
    units = tuple(
        Unit(text="", token_start=i, token_end=i + 1, char_start=0, char_end=0, segment=0) for i in range(1, length - 1)
    )
    unit_of_token = np.arange(-1, length - 1)
    unit_of_token[-1] = -1
    return Encoding(
        input_ids=ids,
        type_ids=np.zeros_like(ids),
        unit_of_token=unit_of_token,
        units=units,
        tokens_total=length,
        grouped=False,
    )


def rows_of_each_kind(encoding: Encoding, scope: Scope = Scope.ALL_LAYERS, *, seed: int = 1) -> list[BatchRow]:
    """One of each kind, or of those that change the input alone; `seed` permutes."""
    removed = np.arange(len(encoding.units)) % 3 == 0
    rows = [
        Row(readout=True),
        *(Row(removed=removed, operator=operator) for operator in encoding.removals.usual),
        Row(edit=AttentionEdit.IDENTITY, readout=True),
        Row(edit=AttentionEdit.UNIFORM, readout=True),
        Row(edit=AttentionEdit.PERMUTED, seed=seed),
    ]
    if scope is Scope.INPUT_ONLY:
        rows = [Row(), *(row for row in rows if row.removed is not None)]
    return variants(encoding, rows)


def _late(first: Encoding, second: Encoding, layers: int) -> list[BatchRow]:
    """Rows of two inputs whose edits start at a later layer, where there is one, beside rows that start at once."""
    starts = sorted({layers // 2, layers - 1})
    edits = (AttentionEdit.UNIFORM, AttentionEdit.PERMUTED)
    late = [Row(edit=edit, seed=1, layers=tuple(range(start, layers))) for start in starts for edit in edits]
    late.append(Row(edit=AttentionEdit.UNIFORM, layers=(starts[0],)))
    removed = np.arange(len(first.units)) % 2 == 0
    replaced, hidden = (Row(removed=removed, operator=operator) for operator in first.removals.usual)
    at_once = [replaced, Row(edit=AttentionEdit.UNIFORM), hidden]
    return [*variants(first, [*late, at_once[0]]), *variants(second, [*at_once, *late, Row(readout=True)])]


def _company_changes(backend: Backend, rows: list[BatchRow]) -> float:
    """Largest difference between a row's results in batches of different sizes and neighbours, as `_noise`."""
    together, differences = backend.run(rows * 2), [0.0]
    companies = [[(size + i) % len(rows) for i in range(size)] for size in SIZES]
    for numbers in [*companies, *([i] * copies for i in range(len(rows)) for copies in (1, 2))]:
        found = backend.run([rows[number] for number in numbers])
        differences.append(_relative(found.logits, together.logits[numbers]))
        if found.readouts is not None and together.readouts is not None:
            differences.append(_relative(found.readouts, together.readouts[numbers]))
        if found.permuted is not None and together.permuted is not None:  # there is one permuted row, perhaps twice
            differences.append(_relative(found.permuted.readout, together.permuted.readout[:1]))
            differences += [
                _relative(a, b[:1]) for a, b in zip(found.permuted.fused, together.permuted.fused, strict=True)
            ]
    return worst(differences)


def _noise(backend: Backend, untouched: list[BatchRow]) -> float:
    """Relative difference of an untouched input's logits, as a prediction and as a row beside others."""
    return _relative(backend.run(untouched * 5).logits[:1], backend.predict(untouched))


def _relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest value, or to 1: what the checks compare it with is, too."""
    return largest_gap(found, expected) / max(1.0, float(expected.abs().max()))


def _difference(found: BatchOutput, expected: BatchOutput) -> float:
    """Largest difference, relative to the largest value of its kind, of logits, read-outs and reduced attention."""
    pairs = [(found.logits, expected.logits)]
    if found.readouts is not None and expected.readouts is not None:
        pairs.append((found.readouts, expected.readouts))
    if found.permuted is not None and expected.permuted is not None:
        pairs.append((found.permuted.readout, expected.permuted.readout))
    return worst(_relative(a, b) for a, b in pairs)
