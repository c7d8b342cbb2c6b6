"""Write fused attention out as the products and the softmax that it stands for, so that one rule finds every site.

Graphs are changed in place; what cannot be written out is left as it is, and then not found.

Shapes: B batch, H head, Q query, K key, D width of a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

FUSED = "com.microsoft"


def expand_attention(model: ir.Model) -> int:
    """Write out every fused attention that is understood; return how many there were.

    Those of ONNX Runtime's optimizer may know no more of the mask than how many ones it has. What is written out uses
    the graph's own `attention_mask`: the same for a text padded behind, and right where other tokens are hidden.
    """
    graph, count = model.graph, 0
    mask = next((value for value in graph.inputs if value.name == "attention_mask"), None)
    for node in tuple(graph):
        if (node.domain, node.op_type) == ("", "Attention") and _is_plain(node):
            _expand_standard(graph, node)
        elif (node.domain, node.op_type) == (FUSED, "Attention") and mask is not None and _is_packed(node):
            _expand_fused(graph, node, mask, _packed(node))
        elif (node.domain, node.op_type) == (FUSED, "MultiHeadAttention") and mask is not None and _is_separate(node):
            _expand_fused(graph, node, mask, _separate(node))
        else:
            continue
        count += 1
    return count


def _is_plain(node: ir.Node) -> bool:
    """Whether a standard Attention (opset 23 on) is one of an encoder: no cache, no causal mask, no soft cap."""
    inputs, outputs = list(node.inputs), list(node.outputs)
    plain = not node.attributes.get_int("is_causal", 0) and not node.attributes.get_float("softcap", 0.0)
    cached = any(each is not None for each in inputs[4:])
    return plain and not cached and not any(out.uses() for out in outputs[1:]) and _head_width(inputs[0]) is not None


def _head_width(query: ir.Value | None) -> int | None:
    """D of a query [B, H, Q, D], where it is known beforehand."""
    if query is None or query.shape is None or len(query.shape) != _AXES:
        return None
    width = query.shape[-1]
    return width if isinstance(width, int) else None


_AXES = 4


@dataclass(slots=True, kw_only=True)
class _Writing:
    """Nodes that take the place of one."""

    nodes: list[ir.Node] = field(default_factory=list)

    def node(self, operator: str, *inputs: ir.Value, **attributes: int | tuple[int, ...]) -> ir.Value:
        """Add a node; its only output."""
        made = ir.node(operator, inputs, attributes)
        self.nodes.append(made)
        return made.outputs[0]

    def constant(self, value: np.ndarray) -> ir.Value:
        """Add a constant."""
        made = ir.node("Constant", [], {"value": ir.tensor(value)})
        self.nodes.append(made)
        return made.outputs[0]


def _expand_standard(graph: ir.Graph, node: ir.Node) -> None:
    query, key, value, mask = (*node.inputs[:4], None)[:4]
    width = _head_width(query)
    assert query is not None
    assert key is not None
    assert value is not None
    assert width is not None
    dtype = query.dtype or ir.DataType.FLOAT
    scale = math.sqrt(node.attributes.get_float("scale", 1 / math.sqrt(width)))
    writing = _Writing()
    root = writing.constant(np.array(scale, dtype=dtype.numpy()))
    scores = writing.node(
        "MatMul",
        writing.node("Mul", query, root),
        writing.node("Mul", writing.node("Transpose", key, perm=(0, 1, 3, 2)), root),
    )
    if mask is not None:
        added: ir.Value = mask
        if mask.dtype == ir.DataType.BOOL:
            shown = writing.constant(np.zeros((), dtype=dtype.numpy()))
            hidden = writing.constant(np.array(np.finfo(dtype.numpy()).min, dtype=dtype.numpy()))
            added = writing.node("Where", mask, shown, hidden)
        scores = writing.node("Add", scores, added)
    context = writing.node("MatMul", writing.node("Softmax", scores, axis=-1), value)
    context.shape, context.type = node.outputs[0].shape, node.outputs[0].type
    ir.convenience.replace_nodes_and_values(graph, node, [node], writing.nodes, [node.outputs[0]], [context])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Projections:
    """What makes query, key and value of a fused operator: inputs [B, T, E], and perhaps weights [E, E], biases [E]."""

    inputs: tuple[ir.Value, ...]
    weights: tuple[np.ndarray | None, ...]
    biases: tuple[np.ndarray | None, ...]


def _constant(value: ir.Value | None) -> np.ndarray | None:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def _given(node: ir.Node, place: int) -> ir.Value | None:
    return node.inputs[place] if place < len(node.inputs) else None


def _is_encoder(node: ir.Node, *unknown: int) -> bool:
    """Whether nothing is asked for that an encoder has not: a causal mask, a cache, rotary positions, another bias."""
    asked = any(
        node.attributes.get_int(name, 0) for name in ("unidirectional", "do_rotary", "past_present_share_buffer")
    )
    return not asked and not any(_given(node, place) is not None for place in unknown) and len(node.outputs) == 1


def _is_packed(node: ir.Node) -> bool:
    weights, bias = _constant(_given(node, 1)), _constant(_given(node, 2))
    square = weights is not None and weights.ndim == 2 and weights.shape[1] == 3 * weights.shape[0]  # noqa: PLR2004
    return square and bias is not None and _is_encoder(node, 4, 5, 6) and "qkv_hidden_sizes" not in node.attributes


def _packed(node: ir.Node) -> _Projections:
    source, weights, bias = node.inputs[0], _constant(node.inputs[1]), _constant(node.inputs[2])
    assert source is not None
    assert weights is not None
    assert bias is not None
    return _Projections(
        inputs=(source,) * 3,
        weights=tuple(np.split(weights, 3, axis=1)),
        biases=tuple(np.split(bias, 3)),
    )


def _is_separate(node: ir.Node) -> bool:
    bias = _given(node, 3)
    known = bias is None or _constant(bias) is not None
    return known and all(_given(node, place) is not None for place in range(3)) and _is_encoder(node, 5, 6, 7, 8, 9)


def _separate(node: ir.Node) -> _Projections:
    bias = _constant(_given(node, 3))
    return _Projections(
        inputs=tuple(value for value in node.inputs[:3] if value is not None),
        weights=(None,) * 3,
        biases=(None,) * 3 if bias is None else tuple(np.split(bias, 3)),
    )


def _expand_fused(graph: ir.Graph, node: ir.Node, mask: ir.Value, projections: _Projections) -> None:
    heads, writing = node.attributes["num_heads"].as_int(), _Writing()
    known = next((each for each in (*projections.weights, *projections.biases) if each is not None), None)
    dtype = np.dtype(np.float32) if known is None else known.dtype
    by_heads = writing.constant(np.array([0, 0, heads, -1], dtype=np.int64))
    parts = []
    for source, weight, bias in zip(projections.inputs, projections.weights, projections.biases, strict=True):
        made = source if weight is None else writing.node("MatMul", source, writing.constant(weight))
        made = made if bias is None else writing.node("Add", made, writing.constant(bias))
        parts.append(writing.node("Transpose", writing.node("Reshape", made, by_heads), perm=(0, 2, 1, 3)))
    query, key, value = parts
    scores = writing.node("MatMul", query, writing.node("Transpose", key, perm=(0, 1, 3, 2)))
    scale = node.attributes.get_float("scale", 0.0)
    if scale:
        scores = writing.node("Mul", scores, writing.constant(np.array(scale, dtype=dtype)))
    else:
        width = writing.node("Gather", writing.node("Shape", query), writing.constant(np.array(-1, dtype=np.int64)))
        root = writing.node("Sqrt", writing.node("Cast", width, to=ir.DataType.from_numpy(dtype).value))
        scores = writing.node("Div", scores, root)
    places = writing.constant(np.array([0, 1, 1, -1], dtype=np.int64))
    shown = writing.node("Cast", writing.node("Reshape", mask, places), to=ir.DataType.BOOL.value)
    zero, least = (writing.constant(np.array(each, dtype=dtype)) for each in (0, np.finfo(dtype).min))
    scores = writing.node("Add", scores, writing.node("Where", shown, zero, least))
    context = writing.node("MatMul", writing.node("Softmax", scores, axis=-1), value)
    whole = writing.constant(np.array([0, 0, -1], dtype=np.int64))
    result = writing.node("Reshape", writing.node("Transpose", context, perm=(0, 2, 1, 3)), whole)
    result.shape, result.type = node.outputs[0].shape, node.outputs[0].type
    ir.convenience.replace_nodes_and_values(graph, node, [node], writing.nodes, [node.outputs[0]], [result])
