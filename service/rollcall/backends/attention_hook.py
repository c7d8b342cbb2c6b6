"""The one standing change to transformers: an attention function of our own, and a mask function of the same name.

Both are registered when this module is imported; a model uses them once its attention implementation is set to
`IMPLEMENTATION`. A call without a plan is the stock SDPA call, bitwise. Without the mask function padding would leak,
silently (transformers#45811).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from rollcall.backends.plan import BatchPlan
from rollcall.backends.stock_attention import library_attention

IMPLEMENTATION = "rollcall"
PLAN_ARGUMENT = "rollcall_plan"


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    rollcall_plan: BatchPlan | None = None,
    **extra: Any,  # noqa: ANN401 - whatever the architecture passes, handed on
) -> tuple[torch.Tensor, None]:
    """What the library does without a plan; else what the plan says."""
    if rollcall_plan is None:
        own = (module, query, key, value, attention_mask)
        return library_attention(*own, dropout=dropout, scaling=scaling, extra=extra), None
    return rollcall_plan.attend(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, extra=extra
    )


def enter_block(
    _: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Pre-hook of every transformer block: let the call's plan change the block's input, if there is a plan."""
    plan = named.get(PLAN_ARGUMENT)
    if plan is None:
        return None
    if arguments:
        return (plan.enter(arguments[0]), *arguments[1:]), named
    return arguments, {**named, "hidden_states": plan.enter(named["hidden_states"])}


AttentionInterface.register(IMPLEMENTATION, attend)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
