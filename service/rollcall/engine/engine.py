"""Run batches and captures on loaded models: split when memory runs out or a request fails, reduced to numbers.

Everything here is synchronous and runs on the device's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from rollcall.attribution.gradient_rollout import gradient_rollout
from rollcall.attribution.raw_attention import raw_attention
from rollcall.attribution.rollout import attention_rollout, by_receptive_field, norm_rollout
from rollcall.attribution.units import to_units
from rollcall.backends.base import (
    AttentionReductions,
    Backend,
    BatchRow,
    Capture,
    CaptureRequest,
    Differentiable,
    readout_of,
)
from rollcall.backends.tensors import to_host
from rollcall.domain.compute import Captured
from rollcall.domain.decision import Decision
from rollcall.domain.errors import BackendError, DeviceLost, DeviceMemory, RollcallError
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import DEFAULT_MAPS, REWIRED_MAPS, Floats, MapKind, MapOptions, UnitMap
from rollcall.domain.rows import RowResult
from rollcall.engine.adversary import AdversarySearch
from rollcall.models.loading import LoadedModel

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Models by name; those that have been loaded."""

    models: dict[str, LoadedModel]

    def run_parts(
        self, model: str, parts: list[list[BatchRow]], *, stock: bool = False
    ) -> list[list[RowResult] | Exception]:
        """Run rows of several requests as one batch; if that fails, each part by itself, so that only one suffers.

        Raises DeviceLost.
        """
        try:
            results = iter(self.run(model, [row for part in parts for row in part], stock=stock))
        except (BackendError, DeviceMemory) as error:
            if len(parts) == 1:
                return [error]
        else:
            return [[next(results) for _ in part] for part in parts]
        return [outcome for part in parts for outcome in self.run_parts(model, [part], stock=stock)]

    def call(self, act: Callable[[], T]) -> list[T] | Exception:
        """Run something that is no row; raises DeviceLost."""
        try:
            return [act()]
        except DeviceLost:
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
            # No future can hold a StopIteration.
            return BackendError("a call ran out of an iterator") if isinstance(error, StopIteration) else error

    def run(self, model: str, rows: list[BatchRow], *, stock: bool = False) -> list[RowResult]:
        """Run one batch, in halves where it does not fit; `stock` rows are untouched and need no hook.

        Raises DeviceMemory if a single row does not fit, BackendError if the model or a reduction fails, DeviceLost.
        """
        try:
            return self._predict_once(model, rows) if stock else self._run_once(model, rows)
        except Exception as error:
            failure = _failure(error)
            if not isinstance(failure, DeviceMemory) or len(rows) == 1:
                raise failure from error
        # Out of the except clause: its traceback would keep the tensors of the batch that did not fit.
        half = len(rows) // 2
        return [*self.run(model, rows[:half], stock=stock), *self.run(model, rows[half:], stock=stock)]

    def _predict_once(self, model: str, rows: list[BatchRow]) -> list[RowResult]:
        (logits,) = to_host(self.models[model].backend.predict(rows))
        return [RowResult(logits=logits[i]) for i in range(_counted(len(logits), rows))]

    def _run_once(self, model: str, rows: list[BatchRow]) -> list[RowResult]:
        backend = self.models[model].backend
        output = backend.run(rows)
        asked = [(rows[number].options, readout_of(backend, rows[number].encoding)) for number in output.permuted_rows]
        reduced = [] if output.permuted is None else _attention_maps(output.permuted, asked, backend)
        states = [] if output.readouts is None else [output.readouts]
        logits, *others = to_host(output.logits, *states, *reduced)
        readouts, weights = (others[0], others[1:]) if states else (None, others)
        maps: dict[int, dict[MapKind, Floats]] = {}
        for at, number in enumerate(output.permuted_rows):
            encoding = rows[number].encoding
            kinds = zip(REWIRED_MAPS, weights, strict=True)
            maps[number] = {kind: to_units(found[at, : encoding.length], encoding)[0] for kind, found in kinds}
        return [
            RowResult(
                logits=logits[i],
                readout=readouts[i] if rows[i].row.readout and readouts is not None else None,
                maps=maps.get(i, {}),
            )
            for i in range(_counted(len(logits), rows))
        ]

    def capture(self, model: str, encoding: Encoding, request: CaptureRequest) -> Captured:
        """Run one untouched input and turn its attention into those of DEFAULT_MAPS asked for.

        Raises DeviceMemory, BackendError, DeviceLost, and whatever RollcallError `request.decide` raises.
        """
        try:
            return self._capture_once(model, encoding, request)
        except RollcallError:
            raise
        except Exception as error:
            raise _failure(error) from error

    def _capture_once(self, model: str, encoding: Encoding, request: CaptureRequest) -> Captured:
        backend = self.models[model].backend
        capture = backend.capture(encoding, request)
        kinds = [kind for kind in DEFAULT_MAPS if kind in request.maps]
        readout = readout_of(backend, encoding)
        weights = [_token_weights(kind, capture, request.options, backend, readout) for kind in kinds]
        wants_layers = MapKind.ATTENTION_FLOW in request.maps
        own = slice(encoding.length)  # a capture may be padded
        layers = []
        if wants_layers:
            layers = [torch.stack([layer[0, own, own] for layer in _captured(capture.attention).fused])]
        states = [] if capture.state is None else [capture.state]
        logits, *others = to_host(capture.logits, *states, *weights, *layers)
        weights_on_host = others[len(states) :][: len(kinds)]
        return Captured(
            row=RowResult(logits=logits, readout=others[0] if states else None),
            decision=capture.decision,
            maps=tuple(
                _unit_map(kind, found[0, own], encoding) for kind, found in zip(kinds, weights_on_host, strict=True)
            ),
            attention=capture.selected,
            attention_is_uniform=capture.uniform,
            layers=others[-1] if wants_layers else None,
        )

    def path_gradients(
        self, model: str, encoding: Encoding, decision: Decision, points: Sequence[float]
    ) -> tuple[Floats, Floats]:
        """Signed token weights along the way and at the points, [P, T] each, in halves where they do not fit.

        Raises DeviceMemory if a single point does not fit, BackendError, DeviceLost.
        """
        try:
            found = self.differentiable(model).path_gradients(encoding, decision, points)
            along, at = (each[:, : encoding.length] for each in to_host(found.along, found.at))
        except Exception as error:
            failure = _failure(error)
            if not isinstance(failure, DeviceMemory) or len(points) == 1:
                raise failure from error
        else:
            return along, at
        half = len(points) // 2
        parts = [self.path_gradients(model, encoding, decision, part) for part in (points[:half], points[half:])]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def decompose(self, model: str, encoding: Encoding, decision: Decision) -> Floats:
        """Signed parts of the margin's direction in the logits, per token [T]; raises as `capture`."""
        try:
            (tokens,) = to_host(self.differentiable(model).decompose(encoding, decision).tokens)
        except Exception as error:
            raise _failure(error) from error
        return tokens

    def differentiable(self, model: str) -> Differentiable:
        """A model whose runtime has gradients; raises BackendError for one that has none, and offers no map of them."""
        backend = self.models[model].backend
        if not isinstance(backend, Differentiable):
            message = f"{backend.name} computes no gradients"
            raise BackendError(message)
        return backend

    def searching(self, search: AdversarySearch) -> None:
        """Take one step of a search; raises as `capture`."""
        try:
            search.step()
        except Exception as error:
            raise _failure(error) from error


def _failure(error: Exception) -> RollcallError:
    """What an exception on the device means to a caller."""
    if isinstance(error, DeviceLost):
        return error
    if isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError):
        return DeviceLost()
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error):
        return DeviceMemory("the device has too little memory for this input")
    return BackendError("the model failed on this input")


def _counted(found: int, rows: list[BatchRow]) -> int:
    """Check that no row is missing: a result given to the wrong caller would be worse than none."""
    if found != len(rows):
        message = f"{found} results for {len(rows)} rows"
        raise ValueError(message)
    return found


def _token_weights(
    kind: MapKind, capture: Capture, options: MapOptions, backend: Backend, readout: int
) -> torch.Tensor:
    """Weights per token [1, T] of one map of the untouched input, which is read at `readout`."""
    match kind:
        case MapKind.RAW_ATTENTION:
            return raw_attention(_captured(capture.attention).readout, options.raw_layers, options.raw_heads)
        case MapKind.ATTENTION_ROLLOUT:
            return _rollout(_captured(capture.attention).fused, options, backend, readout)
        case MapKind.NORM_ROLLOUT:
            return norm_rollout(_captured(capture.norms).unsqueeze(0), readout)
        case MapKind.GRADIENT_ROLLOUT:
            return gradient_rollout(_captured(capture.gradients).unsqueeze(0), readout)
        case _:
            message = f"{kind.name} is not made of a capture"
            raise ValueError(message)


def _rollout(fused: Sequence[torch.Tensor], options: MapOptions, backend: Backend, readout: int) -> torch.Tensor:
    row = attention_rollout(fused, readout, options.rollout_start_layer)
    return by_receptive_field(row) if backend.shape.causal else row


def _captured(part: T | None) -> T:
    if part is None:
        message = "the capture lacks what was asked for"
        raise ValueError(message)
    return part


def _unit_map(kind: MapKind, weights: Floats, encoding: Encoding) -> UnitMap:
    scores, dropped = to_units(weights, encoding)
    return UnitMap(kind=kind, scores=scores, dropped_mass=dropped)


def _attention_maps(
    reductions: AttentionReductions, asked: Sequence[tuple[MapOptions, int]], backend: Backend
) -> list[torch.Tensor]:
    """Weights per token [R, T] of each of REWIRED_MAPS, every row's by its own options and read where it is read."""
    kinds = list(dict.fromkeys(asked))
    if len(kinds) == 1:  # the rows of one request: choosing among them would wait for the device
        return _maps_of(reductions.readout, reductions.fused, *kinds[0], backend)
    raw = torch.empty_like(reductions.readout[:, 0, 0])
    rollout = torch.empty_like(raw)
    for options, readout in kinds:
        rows = [i for i, own in enumerate(asked) if own == (options, readout)]
        fused = [layer[rows] for layer in reductions.fused]
        raw[rows], rollout[rows] = _maps_of(reductions.readout[rows], fused, options, readout, backend)
    return [raw, rollout]


def _maps_of(
    heads: torch.Tensor, fused: Sequence[torch.Tensor], options: MapOptions, readout: int, backend: Backend
) -> list[torch.Tensor]:
    """The same of rows [R, L, H, T] and, per layer, [R, Q, T] with the same options and read-out."""
    return [
        raw_attention(heads, options.raw_layers, options.raw_heads),
        _rollout(fused, options, backend, readout),
    ]
