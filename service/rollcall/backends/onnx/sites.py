"""Find every attention in a graph that knows nothing of attention: softmax over keys between two products.

A site is a softmax over the last axis of what was made, by element, of a product of two tensors that both depend on the
input, and whose result goes, by element, into the first place of another such product. A softmax that gives class
probabilities has no product behind it. Graphs are read, never changed here.

Shapes: B batch, H head, Q query, K key, T token, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

PASSED_THROUGH = frozenset({"Cast", "Dropout", "Identity", "Where", "Mul"})
"""What exporters put between the softmax and its product with the values: casts, guards against NaN."""
MADE_BY_ELEMENT = frozenset({"Add", "Sub", "Mul", "Div", "Where", "Cast", "Reshape", "Identity", "Tanh", "Clip", "Max"})
"""What exporters put between the product of queries and keys and the softmax: scale, mask, bias, soft cap."""
FEWEST_AXES = 4
"""Batch, head, query, key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One attention: `scores` go into the softmax, `weights`, [B, H, Q, K] both, into the product with the values.

    `user` is the node that takes the weights: the product itself, or what lays them out as [B * H, Q, K] for it.
    """

    softmax: ir.Node
    scores: ir.Value
    weights: ir.Value
    user: ir.Node
    product: ir.Node


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOut:
    """Where the last states [B, T, D] become one per input: `state` [B, D], of the token at `position`."""

    state: ir.Value
    position: int


def find_sites(graph: ir.Graph) -> tuple[Site, ...]:
    """Every attention, in the order in which the graph computes them: that of the layers."""
    return tuple(site for node in graph if (site := _site(node)) is not None)


def find_read_out(graph: ir.Graph, logits: ir.Value, sites: tuple[Site, ...]) -> ReadOut | None:
    """The last place on the way to the `logits` where a single token is picked out of what the last site computed.

    None where there is none: then the classifier reads several tokens.
    """
    if not sites:
        return None
    last = sites[-1].product
    behind = _Ancestors(last)
    for node in reversed(list(graph)):
        if node.op_type != "Gather" or _integer(node, "axis", 0) != 1:
            continue
        position = _constant(node.inputs[1])
        states = node.inputs[0]
        if position is None or position.size != 1 or states is None:
            continue
        if behind.of(states) and _leads_to(node, logits):
            return ReadOut(state=node.outputs[0], position=int(position.numpy().reshape(-1)[0]))
    return None


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is the same for every input: an initializer that nobody can override, or made of such alone."""
    pending, seen = [value], set[ir.Value]()
    while pending:
        each = pending.pop()
        if each is None or each in seen:
            continue
        seen.add(each)
        node = each.producer()
        if node is None:
            if each.is_graph_input() or not each.is_initializer():
                return False
        else:
            pending += node.inputs
    return True


def _site(node: ir.Node) -> Site | None:
    if node.op_type != "Softmax" or node.domain not in {"", "ai.onnx"} or not _over_last_axis(node):
        return None
    scores = node.inputs[0]
    weights = _weights(node.outputs[0])
    if scores is None or weights is None or not _compares(scores):
        return None
    user = _user(weights)
    assert user is not None
    product = _multiplied(weights) or _multiplied(user.outputs[0])
    assert product is not None
    return Site(softmax=node, scores=scores, weights=weights, user=user, product=product)


def _over_last_axis(node: ir.Node) -> bool:
    shape = node.outputs[0].shape
    return _integer(node, "axis", -1) in {-1, (FEWEST_AXES if shape is None else len(shape)) - 1}


def _weights(value: ir.Value) -> ir.Value | None:
    """What of a softmax, passed on by element, is the first factor of a product."""
    pending, seen = [value], set[ir.Value]()
    while pending:
        each = pending.pop()
        seen.add(each)
        if _user(each) is not None:
            return each
        for user, place in each.uses():
            if user.op_type in PASSED_THROUGH and not (user.op_type == "Where" and place == 0):
                pending += [out for out in user.outputs if out not in seen]
    return None


def _user(value: ir.Value) -> ir.Node | None:
    """What takes a value as the first factor of a product with something that depends on the input."""
    product = _multiplied(value)
    if product is not None:
        return product
    laid_out = (user for user, place in value.uses() if user.op_type == "Reshape" and place == 0)
    return next((user for user in laid_out if _multiplied(user.outputs[0]) is not None), None)


def _multiplied(value: ir.Value) -> ir.Node | None:
    products = (user for user, place in value.uses() if user.op_type == "MatMul" and place == 0)
    return next((user for user in products if not is_constant(user.inputs[1])), None)


def _compares(scores: ir.Value) -> bool:
    """Whether scores are made, by element, of a product of two tensors that both depend on the input."""
    pending, seen = [scores], set[ir.Value]()
    while pending:
        each = pending.pop()
        node = each.producer()
        if node is None or each in seen:
            continue
        seen.add(each)
        if node.op_type == "MatMul" and not any(is_constant(factor) for factor in node.inputs):
            return True
        if node.op_type in MADE_BY_ELEMENT:
            pending += [value for value in node.inputs if value is not None]
    return False


def _leads_to(node: ir.Node, target: ir.Value) -> bool:
    return any(target in found.outputs for found in _after(node))


def _after(node: ir.Node) -> Iterator[ir.Node]:
    """The node and all that depends on it."""
    pending, seen = [node], {node}
    while pending:
        each = pending.pop()
        yield each
        new = {user for output in each.outputs for user, _ in output.uses()} - seen
        seen |= new
        pending += new


class _Ancestors:
    """Says of values whether they depend on a node."""

    def __init__(self, node: ir.Node) -> None:
        self._dependent = {output for after in _after(node) for output in after.outputs}

    def of(self, value: ir.Value) -> bool:
        """Whether it does."""
        return value in self._dependent


def _integer(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else int(attribute.as_int())


def _constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    return None if value is None else ir.convenience.get_const_tensor(value)
