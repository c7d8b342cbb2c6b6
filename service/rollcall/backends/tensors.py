"""Tensors at the border of the torch backend: a batch going in, attention that a caller asked for coming out."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from rollcall.domain.maps import AttentionSelection, AttentionTensor, HeadReduction, TensorType

UINT8_LEVELS = 255
_DTYPES = {TensorType.FLOAT32: torch.float32, TensorType.FLOAT16: torch.float16, TensorType.UINT8: torch.uint8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """One batch as the model takes it: `input_ids`, `attention_mask` and `type_ids`, each [B, T]."""

    input_ids: torch.Tensor = field(repr=False)
    attention_mask: torch.Tensor = field(repr=False)
    type_ids: torch.Tensor = field(repr=False)


def select_attention(layers: list[torch.Tensor], selection: AttentionSelection, readout: int) -> AttentionTensor:
    """Cut the selection out of one input's attention, one [H, Q, K] per layer, and store it as asked."""
    chosen = list(selection.layers) or list(range(len(layers)))
    heads = list(selection.heads) or list(range(layers[0].shape[0]))
    values = torch.stack([layers[layer][heads] for layer in chosen])
    if selection.readout_only:
        values = values[:, :, readout : readout + 1]
    if selection.head_reduction is HeadReduction.MEAN:
        values = values.mean(dim=1, keepdim=True)
    elif selection.head_reduction is HeadReduction.MAX:
        values = values.amax(dim=1, keepdim=True)
    stored = values.to(_DTYPES[selection.tensor_type])
    if selection.tensor_type is TensorType.UINT8:
        stored = (values * UINT8_LEVELS).round().to(torch.uint8)
    return AttentionTensor(
        layers=tuple(chosen),
        heads=tuple(heads) if selection.head_reduction is HeadReduction.NONE else (),
        readout=readout,
        tensor_type=selection.tensor_type,
        shape=tuple(stored.shape),
        data=stored.contiguous().cpu().numpy().tobytes(),
    )
