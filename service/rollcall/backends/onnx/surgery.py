"""Open a graph's attention: its weights become outputs, and inputs that change them become part of the graph.

Every layer l gets four inputs, all with neutral defaults, so that a caller who knows nothing of them gets what the
original gives; all broadcast to the layer's weights [B, H, Q, K]:

- `rollcall.bias.l` is added to the logits of attention; the lowest number of its type knocks a key out, renormalised;
- `rollcall.shift.l`: weight j becomes the weight of key j + shift[j]: a permutation of the keys;
- `rollcall.keep.l` multiplies the weights, after the softmax;
- `rollcall.map.l` is added to them then: with a keep of 0 it replaces them, with one between it blends.

The last three are looked at only where `rollcall.edited` is true. `rollcall.weights.l` are the weights as they are
used, `rollcall.state` the state that the classifier reads. Where every layer's block was found, its values and states
(`BLOCK_NAMES`) are outputs, too.

The one attention of a classifier that pools its states with it [B, K] is seen as that of one head and one query.

Shapes: B batch, H head, Q query, K key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from rollcall.backends.onnx.blocks import BlockParts, NoBlocksError, find_blocks
from rollcall.backends.onnx.expansion import expand_attention
from rollcall.backends.onnx.pooling import find_pooling
from rollcall.backends.onnx.sites import ReadOut, Site, find_read_out, find_sites

EDITED = "rollcall.edited"
STATE = "rollcall.state"
BLOCK_NAMES = ("values", "entered", "attended", "fed", "left")
"""What is shown of a layer's block, as `BlockStates` has it."""
AXES = ("rows", "heads", "queries", "keys")
POOLED = "Its one attention sums the states of a text: there are no layers to roll out through."
OLDEST_OPSET = 11
"""GatherElements and Range came with it."""


def bias_name(layer: int) -> str:
    """Input that is added to the logits of a layer's attention."""
    return f"rollcall.bias.{layer}"


def shift_name(layer: int) -> str:
    """Input that permutes the keys of a layer."""
    return f"rollcall.shift.{layer}"


def keep_name(layer: int) -> str:
    """Input that multiplies a layer's weights."""
    return f"rollcall.keep.{layer}"


def map_name(layer: int) -> str:
    """Input that is added to a layer's weights."""
    return f"rollcall.map.{layer}"


def weights_name(layer: int) -> str:
    """Output of a layer's weights."""
    return f"rollcall.weights.{layer}"


def block_names(layer: int) -> tuple[str, ...]:
    """Outputs of a layer's block, in the order of BLOCK_NAMES."""
    return tuple(f"rollcall.{name}.{layer}" for name in BLOCK_NAMES)


class NotOpenedError(Exception):
    """A graph whose attention cannot be opened; the message says why, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A graph whose attention is open. `dtype`: precision of its attention.

    `blocks`: of all layers, or none, for the reason `without`. `pooled`: its one attention sums the states.
    """

    model: ir.Model
    sites: tuple[Site, ...]
    read_out: ReadOut
    dtype: np.dtype[np.generic]
    expanded: int
    """How many fused operators were written out."""
    blocks: tuple[BlockParts, ...]
    without: str
    pooled: bool


def expose(graph: ir.Graph, name: str) -> ir.Value:
    """Find an output; a value inside the graph becomes one. Raises StopIteration where there is no such value."""
    found = next((value for value in graph.outputs if value.name == name), None)
    if found is None:
        found = next(value for node in graph for value in node.outputs if value.name == name)
        graph.outputs.append(found)
    return found


def open_attention(model: ir.Model, logits: str) -> Opened:
    """Open every attention of a graph, which is changed in place; `logits` names its output, or what becomes one.

    Raises NotOpenedError.
    """
    graph, opset = model.graph, model.opset_imports.get("", 0)
    if opset < OLDEST_OPSET:
        message = f"opset {opset} is older than {OLDEST_OPSET}"
        raise NotOpenedError(message)
    expanded = expand_attention(model)
    ShapeInferencePass()(model)
    output = expose(graph, logits)
    sites = find_sites(graph)
    pooling = None if sites else find_pooling(graph)
    if pooling is not None:
        site, read_out = pooling
        sites = (site,)
    else:
        read_out = _read_out(graph, output, sites)
    dtype = sites[0].scores.dtype or ir.DataType.FLOAT
    blocks, without = ((), POOLED) if pooling else _blocks(sites)
    edited = _input(graph, EDITED, np.array(False))  # noqa: FBT003 - numpy's own
    for layer, site in enumerate(sites):
        _open(graph, site, layer, dtype, edited, pooled=pooling is not None)
    _output(graph, read_out.state, STATE, dtype)
    for layer, block in enumerate(blocks):
        _show(graph, block, layer, dtype)
    graph.sort()
    return Opened(
        model=model,
        sites=sites,
        read_out=read_out,
        dtype=dtype.numpy(),
        expanded=expanded,
        blocks=blocks,
        without=without,
        pooled=pooling is not None,
    )


def _read_out(graph: ir.Graph, logits: ir.Value, sites: tuple[Site, ...]) -> ReadOut:
    if not sites:
        message = (
            "no attention was found: no softmax between two products of tensors that depend on the input, "
            "nor just one over the states of a text"
        )
        raise NotOpenedError(message)
    read_out = find_read_out(graph, logits, sites)
    if read_out is None:
        message = "no single token was found that the classifier reads"
        raise NotOpenedError(message)
    return read_out


def _blocks(sites: tuple[Site, ...]) -> tuple[tuple[BlockParts, ...], str]:
    try:
        return find_blocks(sites), ""
    except NoBlocksError as error:
        return (), str(error)


def _show(graph: ir.Graph, block: BlockParts, layer: int, dtype: ir.DataType) -> None:
    """Make a block's values and states outputs; a sum that is fused with its norm is made once more."""
    fed = block.fed[0]
    for each in block.fed[1:]:
        summing = ir.node("Add", [fed, each])
        graph.append(summing)
        fed = summing.outputs[0]
    shown = (block.values, block.entered, block.norms[0].output, fed, block.norms[1].output)
    for value, name in zip(shown, block_names(layer), strict=True):
        _output(graph, value, name, dtype)


def _open(graph: ir.Graph, site: Site, layer: int, dtype: ir.DataType, edited: ir.Value, *, pooled: bool) -> None:
    neutral = np.zeros((1, 1, 1, 1), dtype=dtype.numpy())
    bias = _input(graph, bias_name(layer), neutral)
    shift = _input(graph, shift_name(layer), neutral.astype(np.int64))
    keep = _input(graph, keep_name(layer), neutral + 1)
    added = _input(graph, map_name(layer), neutral)
    scores, weights = site.scores, site.weights
    if pooled:
        scores, weights = _lifted(graph, scores, site.softmax), _lifted(graph, weights, site.user)
    biased = ir.node("Add", [scores, bias])
    graph.insert_before(site.softmax, biased)
    logits = _shaped_as(graph, biased.outputs[0], site.scores, site.softmax) if pooled else biased.outputs[0]
    site.softmax.replace_input_with(0, logits)
    choice = ir.node(
        "If",
        [edited],
        {
            "then_branch": _changed(layer, weights, shift, keep, added, dtype),
            "else_branch": _untouched(layer, weights, dtype),
        },
        outputs=[ir.val(weights_name(layer), dtype, AXES)],
    )
    graph.insert_before(site.user, choice)
    used = _shaped_as(graph, choice.outputs[0], site.weights, site.user) if pooled else choice.outputs[0]
    for user, place in tuple(site.weights.uses()):
        if user is site.user:
            user.replace_input_with(place, used)
    graph.outputs.append(choice.outputs[0])


def _lifted(graph: ir.Graph, value: ir.Value, before: ir.Node) -> ir.Value:
    """A number for each token of a text, however it is laid out, as [B, 1, 1, K]."""
    places = ir.node("Constant", [], {"value": ir.tensor(np.array([0, 1, 1, -1], dtype=np.int64))})
    lifting = ir.node("Reshape", [value, places.outputs[0]])
    graph.insert_before(before, [places, lifting])
    return lifting.outputs[0]


def _shaped_as(graph: ir.Graph, value: ir.Value, other: ir.Value, before: ir.Node) -> ir.Value:
    shape = ir.node("Shape", [other])
    laying = ir.node("Reshape", [value, shape.outputs[0]])
    graph.insert_before(before, [shape, laying])
    return laying.outputs[0]


def _changed(
    layer: int, weights: ir.Value, shift: ir.Value, keep: ir.Value, added: ir.Value, dtype: ir.DataType
) -> ir.Graph:
    """The branch that permutes, multiplies and adds, in this order."""
    branch = _Branch(prefix=f"rollcall.changed.{layer}")
    shape = branch.node("Shape", weights)
    keys = branch.node("Gather", shape, branch.number(-1))
    order = branch.node("Add", branch.node("Range", branch.number(0), keys, branch.number(1)), shift)
    moved = branch.node("GatherElements", weights, branch.node("Expand", order, shape), axis=-1)
    return branch.ending(branch.node("Add", branch.node("Mul", moved, keep), added), dtype)


def _untouched(layer: int, weights: ir.Value, dtype: ir.DataType) -> ir.Graph:
    branch = _Branch(prefix=f"rollcall.untouched.{layer}")
    return branch.ending(branch.node("Identity", weights), dtype)


@dataclass(slots=True, kw_only=True)
class _Branch:
    """Nodes of a branch; its names must differ from those of the graph around it."""

    prefix: str
    nodes: list[ir.Node] = field(default_factory=list)

    def node(
        self, operator: str, *inputs: ir.Value, axis: int | None = None, value: ir.TensorProtocol | None = None
    ) -> ir.Value:
        """Add a node; its only output."""
        attributes = {name: given for name, given in (("axis", axis), ("value", value)) if given is not None}
        output = ir.val(f"{self.prefix}.{len(self.nodes)}")
        self.nodes.append(ir.node(operator, inputs, attributes, outputs=[output]))
        return output

    def number(self, value: int) -> ir.Value:
        """Add a constant."""
        return self.node("Constant", value=ir.tensor(np.array(value, dtype=np.int64)))

    def ending(self, result: ir.Value, dtype: ir.DataType) -> ir.Graph:
        """The branch, whose value is `result`."""
        result.dtype = dtype
        return ir.Graph([], [result], nodes=self.nodes, name=self.prefix)


def _input(graph: ir.Graph, name: str, default: np.ndarray) -> ir.Value:
    """An input that may be left out."""
    tensor = ir.tensor(default, name=name)
    value = ir.val(name, const_value=tensor)
    graph.inputs.append(value)
    graph.register_initializer(value)
    value.shape = ir.Shape([f"{name}.{axis}" for axis in AXES[: default.ndim]])
    return value


def _output(graph: ir.Graph, value: ir.Value, name: str, dtype: ir.DataType) -> None:
    same = ir.node("Identity", [value], outputs=[ir.val(name, value.dtype or dtype)])
    graph.append(same)
    graph.outputs.append(same.outputs[0])
