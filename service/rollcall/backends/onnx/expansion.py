"""Write fused attention out as the products and the softmax that it stands for, so that one rule finds every site.

Graphs are changed in place; what cannot be written out is left as it is, and then not found.

Shapes: B batch, H head, Q query, K key, D width of a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir


def expand_attention(model: ir.Model) -> int:
    """Write out every fused attention that is understood; return how many there were."""
    graph, count = model.graph, 0
    for node in tuple(graph):
        if (node.domain, node.op_type) == ("", "Attention") and _is_plain(node):
            _expand_standard(graph, node)
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
