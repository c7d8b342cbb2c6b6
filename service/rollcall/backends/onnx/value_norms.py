"""The blocks of an opened graph as modules, with the weights that the graph holds, for norms of transformed values.

Shapes: L layer, B batch, H head, Q query, K key, D width of a head, E width of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_ir as ir
import torch
from torch import nn

from rollcall.backends.observers import Block
from rollcall.backends.onnx.blocks import BlockParts, Norm, constant_of
from rollcall.backends.tensors import largest_gap

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStates:
    """One layer of one run: `values` [B, H, K, D], and states [B, K, E].

    `entered` the block, `attended` what its first norm gave, `fed` what its second norm took, `left` what that gave.
    """

    values: Tensor = field(repr=False)
    entered: Tensor = field(repr=False)
    attended: Tensor = field(repr=False)
    fed: Tensor = field(repr=False)
    left: Tensor = field(repr=False)


def blocks_of(parts: Sequence[BlockParts], device: str) -> tuple[Block, ...]:
    """Blocks as modules in single precision; layers with the same weights, as ALBERT's, share one."""
    made: dict[object, Block] = {}
    found = []
    for each in parts:
        key = each.projection, each.biases, *((norm.gain, norm.bias) for norm in each.norms)
        if key not in made:
            made[key] = _block(each, device)
        found.append(made[key])
    return tuple(found)


def block_error(block: Block, weights: Tensor, states: BlockStates) -> float:
    """By how much, relatively, what a block's modules make of one layer's values differs from what the graph made."""
    assert block.out_projection is not None
    context = (weights.float() @ states.values.float()).transpose(1, 2).flatten(2)
    attended = block.norms[0](block.out_projection(context) + states.entered.float())
    left = block.norms[1](states.fed.float())
    found, expected = torch.cat((attended, left)), torch.cat((states.attended, states.left)).float()
    return largest_gap(found, expected) / max(1.0, float(expected.abs().max()))


def _block(parts: BlockParts, device: str) -> Block:
    weight = _tensor(parts.projection, device).T.contiguous()
    projection = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    biases = torch.stack([_tensor(each, device) for each in parts.biases]).sum(dim=0) if parts.biases else None
    projection.weight = nn.Parameter(weight, requires_grad=False)
    projection.bias = nn.Parameter(weight.new_zeros(len(weight)) if biases is None else biases, requires_grad=False)
    nothing = nn.Identity()
    return Block(
        module=nothing,
        attention=nothing,
        key=None,
        value=None,
        out_projection=projection,
        norms=tuple(_norm(each, device) for each in parts.norms),
    )


def _norm(norm: Norm, device: str) -> nn.LayerNorm:
    gain, bias = _tensor(norm.gain, device), _tensor(norm.bias, device)
    made = nn.LayerNorm(len(gain), eps=norm.epsilon, device="meta")
    made.weight, made.bias = (nn.Parameter(each, requires_grad=False) for each in (gain, bias))
    return made


def _tensor(value: ir.Value, device: str) -> Tensor:
    return torch.tensor(constant_of(value), dtype=torch.float32, device=device)
