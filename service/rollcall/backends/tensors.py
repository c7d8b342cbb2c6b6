"""Tensors at the border of the torch backend: a batch going in, attention that a caller asked for coming out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rollcall.domain.maps import AttentionSelection, AttentionTensor, Floats, HeadReduction, TensorType

Tensor = torch.Tensor

UINT8_LEVELS = 255
_DTYPES = {TensorType.FLOAT32: torch.float32, TensorType.FLOAT16: torch.float16}
STORED: dict[TensorType, np.dtype[Any]] = {
    TensorType.FLOAT32: np.dtype("<f4"),
    TensorType.FLOAT16: np.dtype("<f2"),
    TensorType.UINT8: np.dtype("u1"),
}
"""Types on the wire: little-endian wherever this runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """One batch as the model takes it: `input_ids`, `attention_mask` and `type_ids`, each [B, T]."""

    input_ids: torch.Tensor = field(repr=False)
    attention_mask: torch.Tensor = field(repr=False)
    type_ids: torch.Tensor = field(repr=False)

    @classmethod
    def of(cls, staged: torch.Tensor) -> Inputs:
        """See them in a tensor [3, B, T]."""
        input_ids, attention_mask, type_ids = staged
        return cls(input_ids=input_ids, attention_mask=attention_mask, type_ids=type_ids)

    @property
    def content(self) -> torch.Tensor:
        """What is embedded."""
        return self.input_ids

    def row(self, row: int, length: int) -> Inputs:
        """One row by itself, cut to its length."""
        cut = (slice(row, row + 1), slice(length))
        return Inputs(
            input_ids=self.input_ids[cut], attention_mask=self.attention_mask[cut], type_ids=self.type_ids[cut]
        )

    def first(self, count: int) -> Inputs:
        """The first rows."""
        return Inputs(
            input_ids=self.input_ids[:count], attention_mask=self.attention_mask[:count], type_ids=self.type_ids[:count]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WordInputs(Inputs):
    """The same of a model that labels words, with the position [B] of each row's."""

    readouts: Tensor = field(repr=False)

    def row(self, row: int, length: int) -> WordInputs:
        """One row by itself, cut to its length."""
        return self._with(Inputs.row(self, row, length), slice(row, row + 1))

    def first(self, count: int) -> WordInputs:
        """The first rows."""
        return self._with(Inputs.first(self, count), slice(count))

    def _with(self, inputs: Inputs, rows: slice) -> WordInputs:
        return WordInputs(
            input_ids=inputs.input_ids,
            attention_mask=inputs.attention_mask,
            type_ids=inputs.type_ids,
            readouts=self.readouts[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInputs:
    """One batch of images: `pixel_values` [B, channels, height, width], and `attention_mask` [B, T] over tokens."""

    pixel_values: torch.Tensor = field(repr=False)
    attention_mask: torch.Tensor = field(repr=False)

    @property
    def content(self) -> torch.Tensor:
        """What is embedded."""
        return self.pixel_values

    def row(self, row: int, length: int) -> ImageInputs:
        """One row by itself; all have the same length."""
        cut = slice(row, row + 1)
        return ImageInputs(pixel_values=self.pixel_values[cut], attention_mask=self.attention_mask[cut, :length])

    def first(self, count: int) -> ImageInputs:
        """The first rows."""
        return ImageInputs(pixel_values=self.pixel_values[:count], attention_mask=self.attention_mask[:count])


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptInputs:
    """One batch: `input_ids` and `attention_mask` [B, T], and `positions` [1 or B, T], each counted from its start."""

    input_ids: Tensor = field(repr=False)
    attention_mask: Tensor = field(repr=False)
    positions: Tensor = field(repr=False)

    @property
    def content(self) -> Tensor:
        """What is embedded."""
        return self.input_ids

    def row(self, row: int, length: int) -> PromptInputs:
        """One row by itself, cut to its length: its last tokens."""
        start = self.input_ids.shape[1] - length
        own = self.positions[min(row, len(self.positions) - 1)][None, start:]
        return PromptInputs(
            input_ids=self.input_ids[row : row + 1, start:],
            attention_mask=self.attention_mask[row : row + 1, start:],
            positions=own,
        )

    def first(self, count: int) -> PromptInputs:
        """The first rows."""
        return PromptInputs(
            input_ids=self.input_ids[:count],
            attention_mask=self.attention_mask[:count],
            positions=self.positions[:count],
        )


AnyInputs = Inputs | ImageInputs | PromptInputs


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Precisions that a model can be served in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """What counts as equal in one precision, and what as a change."""

    close: float
    """Largest relative difference of logits, and of captured attention, that counts as equal."""
    visible: float
    """Smallest relative change of the read-out state that counts as one."""


TOLERANCES = {
    torch.float64: Tolerances(close=1e-4, visible=1e-3),
    torch.float32: Tolerances(close=1e-4, visible=1e-3),
    torch.float16: Tolerances(close=5e-3, visible=2e-3),
    torch.bfloat16: Tolerances(close=4e-2, visible=1.6e-2),
}


def worst(errors: Iterable[float]) -> float:
    """The largest; what is no number is worse than any."""
    return float(np.max(list(errors)))


def largest_gap(found: Tensor, expected: Tensor) -> float:
    """Largest absolute difference of two tensors."""
    return float((found - expected).abs().max())


ALIGNMENT = 64
"""Bytes at whose multiples packed numbers begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Arrays side by side in one buffer of bytes, so that they cross to a device in one transfer.

    `layout`: of each its name, type, shape and the byte at which it begins.
    """

    layout: tuple[tuple[str, torch.dtype, tuple[int, ...], int], ...]
    host: Tensor = field(repr=False)

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]], device: str) -> Packed:
        """Pack arrays for a device; through pinned memory where there is a bus to cross."""
        layout, size = [], 0
        for name, array in arrays.items():
            layout.append((name, _torch_type(array.dtype), array.shape, size))
            size += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        host = torch.empty(size, dtype=torch.uint8, pin_memory=device.startswith("cuda"))
        packed = cls(layout=tuple(layout), host=host)
        for name, view in packed.views(host).items():
            view.numpy()[...] = arrays[name]
        return packed

    def to(self, device: str) -> Tensor:
        """Copy the bytes to a device, beside what it is doing; on the processor they are there."""
        return self.host.to(device, non_blocking=True)

    def copy_to(self, buffer: Tensor) -> None:
        """Copy the bytes into a buffer of the same layout."""
        buffer.copy_(self.host, non_blocking=True)

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """See the arrays, by name, in a buffer that holds the bytes."""
        return {
            name: buffer[start : start + dtype.itemsize * math.prod(shape)].view(dtype).view(shape)
            for name, dtype, shape, start in self.layout
        }


def _torch_type(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype=dtype)).dtype


def to_host(*tensors: Tensor) -> list[Floats]:
    """Copy tensors to the host in one transfer, in double precision."""
    flat = torch.cat([tensor.detach().double().flatten() for tensor in tensors]).cpu().numpy()
    ends = np.cumsum([tensor.numel() for tensor in tensors])
    parts = np.split(flat, ends[:-1])
    return [part.reshape(tuple(tensor.shape)) for part, tensor in zip(parts, tensors, strict=True)]


def select_attention(layers: list[torch.Tensor], selection: AttentionSelection, readout: int) -> AttentionTensor:
    """Cut the selection out of one input's attention, one [H, Q, K] per layer, and store it as asked.

    Layer by layer, so that the whole of it is there once, on the host, and in the type that it is sent in.
    """
    chosen = list(selection.layers) or list(range(len(layers)))
    heads = list(selection.heads) or list(range(layers[0].shape[0]))
    _, queries, keys = layers[0].shape
    shape = (
        len(chosen),
        len(heads) if selection.head_reduction is HeadReduction.NONE else 1,
        1 if selection.readout_only else queries,
        keys,
    )
    stored = np.empty(shape, dtype=STORED[selection.tensor_type])
    for place, layer in enumerate(chosen):
        stored[place] = _selected(layers[layer], heads, selection, readout).cpu().numpy()
    return AttentionTensor(
        layers=tuple(chosen),
        heads=tuple(heads) if selection.head_reduction is HeadReduction.NONE else (),
        readout=readout,
        tensor_type=selection.tensor_type,
        shape=shape,
        data=stored.tobytes(),
    )


def _selected(layer: Tensor, heads: list[int], selection: AttentionSelection, readout: int) -> Tensor:
    """Heads and queries of one layer [H, Q, K], in the type that they are stored in."""
    values = layer[heads]
    if selection.readout_only:
        values = values[:, readout : readout + 1]
    if selection.head_reduction is HeadReduction.MEAN:
        values = values.mean(dim=0, keepdim=True)
    elif selection.head_reduction is HeadReduction.MAX:
        values = values.amax(dim=0, keepdim=True)
    if selection.tensor_type is TensorType.UINT8:
        return (values * UINT8_LEVELS).round().to(torch.uint8)
    return values.to(_DTYPES[selection.tensor_type])
