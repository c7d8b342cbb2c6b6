"""The model's attention by layer and head, on demand. No check speaks for single heads, and the page says so.

The numbers travel as JSON in a data block: weights summed over each unit's tokens, and last what lies on no unit.
script.js draws them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rollcall_client._page.markup import NOTHING, Markup, element
from rollcall_client._page.tables import on_demand
from rollcall_client.visible import visible

if TYPE_CHECKING:
    from rollcall_client.explanation import Explanation
    from rollcall_client.tensors import AttentionTensor

_DIGITS = 4
_ON_NO_WORD = "(on special tokens)"
_WARNING = (
    "Nobody checks single heads: no flag speaks for these pictures. They show where the read-out position looks, "
    "not why the model decides."
)


def attention(explanation: Explanation) -> Markup:
    """A grid of layers and heads to choose from; nothing if the answer carries no attention."""
    tensor = explanation.attention
    if tensor is None:
        return NOTHING
    layers, heads, _, keys = tensor.shape
    summary = f"Attention of the read-out position: {layers} layers, {heads} heads, {keys} tokens"
    return on_demand(
        summary,
        element("p", element("b", "Not checked. "), _WARNING, class_="warning"),
        element("noscript", "Drawing attention by head needs scripts to be allowed for this page."),
        element("div", class_="heads"),
        element("div", class_="head", aria_live="polite"),
        _data(explanation, tensor),
        class_="attention",
    )


def _data(explanation: Explanation, tensor: AttentionTensor) -> Markup:
    numbers = {
        "words": [*(visible(unit.text) for unit in explanation.units), _ON_NO_WORD],
        "layers": tensor.layers,
        "heads": [f"head {head}" for head in tensor.heads] or ["all heads"],
        "weights": [
            [_by_unit(explanation, tensor.readout_row(layer, head)) for head in range(tensor.shape[1])]
            for layer in range(tensor.shape[0])
        ],
    }
    # Inside of a script element only "<" could end it; entities are not decoded there, so it is escaped for JSON.
    text = json.dumps(numbers, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(f'<script type="application/json">{text}</script>')


def _by_unit(explanation: Explanation, row: tuple[float, ...]) -> list[float]:
    on_words = [sum(row[unit.token_start : unit.token_end]) for unit in explanation.units]
    return [round(weight, _DIGITS) for weight in (*on_words, max(sum(row) - sum(on_words), 0.0))]
