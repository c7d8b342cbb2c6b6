"""Run rows and captures on loaded models: chunks of bounded size, split when memory runs out, reduced to numbers.

Everything here is synchronous and runs on the device's thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from rollcall.attribution.gradient_rollout import gradient_rollout
from rollcall.attribution.raw_attention import raw_attention
from rollcall.attribution.rollout import attention_rollout, norm_rollout
from rollcall.attribution.units import to_units
from rollcall.backends.base import AttentionReductions, Capture, CaptureRequest
from rollcall.domain.compute import Captured
from rollcall.domain.errors import BackendError, DeviceMemory
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import Floats, MapKind, MapOptions, UnitMap
from rollcall.domain.rows import AttentionEdit, Row, RowResult
from rollcall.models.loading import LoadedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Models by name, and the largest batch in padded tokens."""

    models: Mapping[str, LoadedModel]
    max_batch_tokens: int

    def chunks(self, rows: list[Row], length: int) -> list[list[Row]]:
        """Cut rows of `length` tokens into batches; the cut depends on nothing else, so neither do results."""
        size = max(1, self.max_batch_tokens // length)
        return [rows[i : i + size] for i in range(0, len(rows), size)]

    def run(self, model: str, encoding: Encoding, rows: list[Row], options: MapOptions) -> list[RowResult]:
        """Run one batch, in halves where it does not fit.

        Raises DeviceMemory if a single row does not fit, BackendError if the model or a reduction fails.
        """
        try:
            return self._run_once(model, encoding, rows, options)
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                message = "the device has too little memory for one row of this input"
                raise DeviceMemory(message) from error
        except Exception as error:
            message = "the model failed on this input"
            raise BackendError(message) from error
        # Out of the except clause: its traceback would keep the tensors of the batch that did not fit.
        half = len(rows) // 2
        return [
            *self.run(model, encoding, rows[:half], options),
            *self.run(model, encoding, rows[half:], options),
        ]

    def _run_once(self, model: str, encoding: Encoding, rows: list[Row], options: MapOptions) -> list[RowResult]:
        backend = self.models[model].backend
        output = backend.run(encoding, rows, options)
        logits = _host(output.logits)
        readouts = None if output.readouts is None else _host(output.readouts)
        maps = [] if output.permuted is None else _attention_maps(output.permuted, encoding, options, backend.readout)
        permuted = iter(maps)
        return [
            RowResult(
                logits=logits[i],
                readout=readouts[i] if row.readout and readouts is not None else None,
                maps=next(permuted) if row.edit is AttentionEdit.PERMUTED else {},
            )
            for i, row in enumerate(rows)
        ]

    def capture(self, model: str, encoding: Encoding, request: CaptureRequest) -> Captured:
        """Capture one input's attention and turn it into the maps asked for, over units."""
        try:
            return self._capture_once(model, encoding, request)
        except torch.OutOfMemoryError as error:
            message = "the device has too little memory to capture this input's attention"
            raise DeviceMemory(message) from error
        except Exception as error:
            message = "the model failed on this input"
            raise BackendError(message) from error

    def _capture_once(self, model: str, encoding: Encoding, request: CaptureRequest) -> Captured:
        backend = self.models[model].backend
        capture = backend.capture(encoding, request)
        maps = tuple(
            _unit_map(kind, _token_weights(kind, capture, request.options, backend.readout), encoding)
            for kind in MapKind
            if kind in request.maps
        )
        return Captured(maps=maps, attention=capture.selected, attention_is_uniform=capture.uniform)


def _token_weights(kind: MapKind, capture: Capture, options: MapOptions, readout: int) -> Floats:
    """Weights per token [T] of one map of the untouched input."""
    weights = {
        MapKind.RAW_ATTENTION: lambda: raw_attention(capture.attention.readout, options.raw_layers, options.raw_heads),
        MapKind.ATTENTION_ROLLOUT: lambda: attention_rollout(
            capture.attention.fused, readout, options.rollout_start_layer
        ),
        MapKind.NORM_ROLLOUT: lambda: norm_rollout(_captured(capture.norms).unsqueeze(0), readout),
        MapKind.GRADIENT_ROLLOUT: lambda: gradient_rollout(_captured(capture.gradients).unsqueeze(0), readout),
    }[kind]()
    return np.asarray(_host(weights)[0])


def _captured(tensor: torch.Tensor | None) -> torch.Tensor:
    if tensor is None:
        message = "the capture lacks what was asked for"
        raise ValueError(message)
    return tensor


def _unit_map(kind: MapKind, weights: Floats, encoding: Encoding) -> UnitMap:
    scores, dropped = to_units(weights, encoding)
    return UnitMap(kind=kind, scores=scores, dropped_mass=dropped)


def _attention_maps(
    reductions: AttentionReductions, encoding: Encoding, options: MapOptions, readout: int
) -> list[dict[MapKind, Floats]]:
    """Attention-only maps over units, recomputed for each reduced row."""
    raw = _host(raw_attention(reductions.readout, options.raw_layers, options.raw_heads))
    rollout = _host(attention_rollout(reductions.fused, readout, options.rollout_start_layer))
    return [
        {
            MapKind.RAW_ATTENTION: to_units(raw_row, encoding)[0],
            MapKind.ATTENTION_ROLLOUT: to_units(rollout_row, encoding)[0],
        }
        for raw_row, rollout_row in zip(raw, rollout, strict=True)
    ]


def _host(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.detach().double().cpu().numpy())
