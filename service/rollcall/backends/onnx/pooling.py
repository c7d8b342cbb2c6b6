"""Find the one attention of a classifier that pools its states with it: a softmax over time, and a weighted sum.

That of recurrent encoders with additive attention (Bahdanau et al. 2015; Jain and Wallace 2019, section 2.2): queries
and keys are not compared, so the rule is looser than that of `sites`, and holds only where there is one such softmax.
Whether its weights are one for each token is found out by running the graph. Graphs are read, never changed here.

Shapes: B batch, T token, S width of the states.
"""

from __future__ import annotations

import onnx_ir as ir

from rollcall.backends.onnx.sites import ReadOut, Site, is_constant

PASSED_ON = frozenset(
    {"Cast", "Div", "Dropout", "Identity", "Mul", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "Where"}
)
"""What lies between the softmax and the sum: masks, renormalisation, another shape."""
PRODUCTS = frozenset({"MatMul", "Einsum"})
NOT_WEIGHTS = {"Div": (1,), "Reshape": (1,), "Squeeze": (1,), "Unsqueeze": (1,), "Where": (0,)}
"""Places in which an operator takes something else than what it passes on."""
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
FACTORS = 2
"""Of a product: weights and states."""


def find_pooling(graph: ir.Graph) -> tuple[Site, ReadOut] | None:
    """The only attention that pools, and the sum that it makes; None where there is none, or more than one."""
    places = {node: place for place, node in enumerate(graph)}
    found = [pooling for node in places if node.op_type == "Softmax" and (pooling := _pooling(node, places))]
    return found[0] if len(found) == 1 else None


def is_recurrent(graph: ir.Graph) -> bool:
    """Whether a text goes through the graph token by token, so that it knows of no positions."""
    return any(node.op_type in RECURRENT for node in graph)


def _pooling(softmax: ir.Node, places: dict[ir.Node, int]) -> tuple[Site, ReadOut] | None:
    scores = softmax.inputs[0]
    if scores is None or is_constant(scores):
        return None
    sums: dict[ir.Node, tuple[ir.Value, ir.Node]] = {}
    pending, seen = [softmax.outputs[0]], set[ir.Value]()
    while pending:
        weights = pending.pop()
        seen.add(weights)
        for user, place in weights.uses():
            summing = _sum(user, weights)
            if summing is not None:
                sums[user] = weights, summing
            if user.op_type in PASSED_ON and place not in NOT_WEIGHTS.get(user.op_type, ()):
                pending += [out for out in user.outputs if out not in seen]
    if not sums:
        return None
    product = max(sums, key=lambda node: places[node])  # a renormalisation sums, too, and comes before
    weights, summing = sums[product]
    site = Site(softmax=softmax, scores=scores, weights=weights, user=product, product=product)
    return site, ReadOut(state=summing.outputs[0], position=0)


def _sum(user: ir.Node, weights: ir.Value) -> ir.Node | None:
    """What sums the states under weights: a product of both, or a sum behind it; None where a node is neither."""
    factors = [each for each in user.inputs if each is not None]
    others = [each for each in factors if each is not weights]
    if len(factors) != FACTORS or len(others) != 1 or is_constant(others[0]):
        return None
    if user.op_type in PRODUCTS:
        return user
    if user.op_type != "Mul":
        return None
    return next((after for after, place in user.outputs[0].uses() if after.op_type == "ReduceSum" and place == 0), None)
