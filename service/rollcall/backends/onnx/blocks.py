"""Find around every attention what its values become: output projection, residual, and both norms of a post-norm block.

A block is found where every layer has all of it, in the order of BERT's, and where each begins with what the one before
it gave. Layer norms are one operator, the parts that older opsets have, or fused with their sum by ONNX Runtime's
optimizer. Graphs are read, never changed here.

Shapes: B batch, H head, K key, D width of a head, E width of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from rollcall.backends.onnx.sites import Site, is_constant

UNCHANGED = frozenset({"Cast", "Dropout", "Identity"})
REARRANGED = UNCHANGED | {"Reshape", "Squeeze", "Transpose"}
"""What lies between the product with the values and the output projection: heads side by side."""
FUSED_NORM = "SkipLayerNormalization"

Array = npt.NDArray[np.generic]


class NoBlocksError(Exception):
    """A graph around whose attention no post-norm blocks were found; the message says what is missing, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """A layer norm over the last axis: `output` = normalised * `gain` [E] + `bias` [E]."""

    gain: ir.Value
    bias: ir.Value
    epsilon: float
    output: ir.Value


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockParts:
    """One block: `values` [B, H, K, D], what it was `entered` with [B, K, E], and what its attention goes through.

    `projection` [H * D, E] and `biases` [E] make what is added to `entered`; `norms` come behind that sum, and behind
    the sum of `fed` [B, K, E], the feed-forward part with its residual.
    """

    values: ir.Value
    entered: ir.Value
    projection: ir.Value
    biases: tuple[ir.Value, ...]
    fed: tuple[ir.Value, ...]
    norms: tuple[Norm, Norm]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sum:
    """A value and `other`, with `biases`, whose sum is normed; `whole` are the values that make the sum."""

    other: ir.Value
    biases: tuple[ir.Value, ...]
    whole: tuple[ir.Value, ...]
    norm: Norm


def find_blocks(sites: tuple[Site, ...]) -> tuple[BlockParts, ...]:
    """The blocks of all sites, in their order; raises NoBlocksError."""
    blocks: list[BlockParts] = []
    for layer, site in enumerate(sites):
        block = _block(site, f"around the attention of layer {layer}")
        if blocks and _origin(block.entered) is not _origin(blocks[-1].norms[1].output):
            message = f"layer {layer} does not begin with what the norm of the layer before it gives"
            raise NoBlocksError(message)
        blocks.append(block)
    return tuple(blocks)


def constant_of(value: ir.Value) -> Array:
    """Numbers of a constant that `find_blocks` found."""
    tensor = ir.convenience.get_const_tensor(value)
    assert tensor is not None
    return np.asarray(tensor.numpy())


def _block(site: Site, where: str) -> BlockParts:
    values = site.product.inputs[1]
    projecting = _user(site.product.outputs[0], "MatMul", REARRANGED)
    if values is None or projecting is None or (projection := _known(projecting.inputs[1])) is None:
        message = f"no output projection with weights of its own was found {where}"
        raise NoBlocksError(message)
    projected = projecting.outputs[0]
    biases: tuple[ir.Value, ...] = ()
    for adding in _users(projected, "Add", UNCHANGED):
        constants = tuple(known for each in adding.inputs if (known := _known(each)) is not None)
        if constants:
            projected, biases = adding.outputs[0], constants
            break
    first = _normed_sum(projected)
    second = None if first is None else _normed_sum(first.norm.output)
    if first is None or second is None:
        message = f"no residual with a layer norm behind it, twice, was found {where}: its blocks are not post-norm"
        raise NoBlocksError(message)
    return BlockParts(
        values=values,
        entered=first.other,
        projection=projection,
        biases=(*biases, *first.biases),
        fed=second.whole,
        norms=(first.norm, second.norm),
    )


def _normed_sum(value: ir.Value) -> _Sum | None:
    """The sum of a value and another one that depends on the input, behind which a layer norm comes."""
    for node in _users(value, FUSED_NORM, UNCHANGED):
        gain, bias, added = (_known(each) for each in (*node.inputs[2:], None, None, None)[:3])
        others = [each for each in node.inputs[:2] if each is not None and not _carries(value, each)]
        if gain is not None and bias is not None and len(others) == 1:
            spread = node.attributes.get_float("epsilon", 1e-12)
            norm = Norm(gain=gain, bias=bias, epsilon=spread, output=node.outputs[0])
            biases = () if added is None else (added,)
            return _Sum(other=others[0], biases=biases, whole=(value, others[0], *biases), norm=norm)
    for node in _users(value, "Add", UNCHANGED):
        others = [each for each in node.inputs if each is not None and not _carries(value, each)]
        norm_of_sum = _norm(node.outputs[0])
        if len(others) == 1 and not is_constant(others[0]) and norm_of_sum is not None:
            return _Sum(other=others[0], biases=(), whole=(node.outputs[0],), norm=norm_of_sum)
    return None


def _norm(value: ir.Value) -> Norm | None:
    """The layer norm of a value, as one operator or in parts."""
    whole = _user(value, "LayerNormalization", UNCHANGED)
    if whole is not None:
        gain, bias = (_known(each) for each in (*whole.inputs[1:], None)[:2])
        if gain is None or bias is None or gain.shape is None or len(gain.shape) != 1:
            return None
        return Norm(gain=gain, bias=bias, epsilon=whole.attributes.get_float("epsilon", 1e-5), output=whole.outputs[0])
    centring = _user(value, "Sub", UNCHANGED)
    dividing = None if centring is None else _user(centring.outputs[0], "Div", UNCHANGED)
    scaling = None if dividing is None else _user(dividing.outputs[0], "Mul", UNCHANGED)
    shifting = None if scaling is None else _user(scaling.outputs[0], "Add", UNCHANGED)
    if dividing is None or scaling is None or shifting is None:
        return None
    gain, bias = (next((k for each in node.inputs if (k := _known(each)) is not None), None)
                  for node in (scaling, shifting))  # fmt: skip
    epsilon = _epsilon(dividing.inputs[1])
    if gain is None or bias is None or epsilon is None:
        return None
    return Norm(gain=gain, bias=bias, epsilon=epsilon, output=shifting.outputs[0])


def _epsilon(spread: ir.Value | None) -> float | None:
    """What was added to a variance before the root was taken of it."""
    root = None if spread is None else spread.producer()
    if root is None or root.op_type != "Sqrt" or root.inputs[0] is None:
        return None
    adding = root.inputs[0].producer()
    if adding is None or adding.op_type != "Add":
        return None
    return next((float(constant_of(k).reshape(-1)[0]) for each in adding.inputs if (k := _known(each))), None)


def _known(value: ir.Value | None) -> ir.Value | None:
    """The constant whose numbers are written in the graph that a value is, perhaps of another type; None elsewhere."""
    if value is None:
        return None
    origin = _origin(value)
    return origin if is_constant(origin) and ir.convenience.get_const_tensor(origin) is not None else None


def _origin(value: ir.Value) -> ir.Value:
    """What a value was before it was passed on unchanged."""
    node = value.producer()
    while node is not None and node.op_type in UNCHANGED and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def _carries(value: ir.Value, later: ir.Value) -> bool:
    return _origin(later) is _origin(value)


def _user(value: ir.Value, operator: str, through: frozenset[str]) -> ir.Node | None:
    return next(_users(value, operator, through), None)


def _users(value: ir.Value, operator: str, through: frozenset[str]) -> Iterator[ir.Node]:
    """Nodes of one kind that take a value, perhaps passed on by others."""
    pending = [value]
    while pending:
        for user, _ in pending.pop().uses():
            if user.op_type == operator:
                yield user
            elif user.op_type in through:
                pending.append(user.outputs[0])
