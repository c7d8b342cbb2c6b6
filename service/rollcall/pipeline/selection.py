"""Layers, heads and sizes that a request may ask of a model."""

from __future__ import annotations

from rollcall.domain.errors import FieldViolation, InvalidInput
from rollcall.domain.explanation import ExplainRequest
from rollcall.domain.maps import AttentionSelection, attention_bytes
from rollcall.domain.model import ModelCard
from rollcall.domain.verdicts import Scope


def check_layers_and_heads(request: ExplainRequest, card: ModelCard) -> None:
    """Check every layer and head that is named; raises InvalidInput with all that are out of range.

    A model whose attention is closed has no map that would look at any.
    """
    if card.scope is Scope.INPUT_ONLY:
        return
    options, attention = request.map_options, request.attention or AttentionSelection()
    named = {
        "raw_attention.layers": (options.raw_layers, card.layers),
        "raw_attention.heads": (options.raw_heads, card.heads),
        "rollout.start_layer": ((options.rollout_start_layer,), card.layers),
        "attention.layers": (attention.layers, card.layers),
        "attention.heads": (attention.heads, card.heads),
    }
    violations = [
        FieldViolation(field=field, description=f"must be between 0 and {count - 1}")
        for field, (values, count) in named.items()
        if any(not 0 <= value < count for value in values)
    ]
    violations += [
        FieldViolation(field=field, description="names the same one twice")
        for field, (values, _) in named.items()
        if len(set(values)) != len(values)
    ]
    if violations:
        raise InvalidInput(*violations)


def check_attention_size(request: ExplainRequest, card: ModelCard, length: int) -> None:
    """Refuse a selection whose tensor for `length` tokens could not be sent; raises InvalidInput."""
    if request.attention is None:
        return
    size = attention_bytes(request.attention, layers=card.layers, heads=card.heads, length=length)
    if size > request.max_attention_bytes:
        raise InvalidInput.of(
            "attention",
            f"would take {size} bytes, more than {request.max_attention_bytes}: select fewer layers or heads, "
            "READOUT queries, FLOAT16 or UINT8, or ask ExplainStream, which sends more",
        )
