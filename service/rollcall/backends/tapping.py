"""Attention of families that compute it by themselves: seen and edited where its probabilities are dropped out.

A served model drops out nothing, so that this module passes on what it is given; for one forward a hook puts what the
plan makes of the probabilities in its place. What comes after, the product with the values, is the family's own. Rows
cannot join such a forward later, nor can its last layer be computed for one query alone: the family's masks and
position biases have the shape of the whole batch.

Shapes: B batch, H head, Q query, K key, D width of a head, E explicit rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from rollcall.backends.observers import Block
from rollcall.backends.plan import BatchPlan, ExplicitRows, LayerEdit, MapSource

Tensor = torch.Tensor


@contextmanager
def tapped(plan: BatchPlan, blocks: Sequence[Block], visible: Tensor, heads: int) -> Iterator[None]:
    """Let one forward's attention be what `plan` says; `visible` [B, K] are the keys that are not masked.

    The hooks are gone afterwards, also after a failure.
    """
    tap = _Tap(plan=plan, visible=visible.bool()[:, None, None], heads=heads)
    with ExitStack() as hooks:
        for block in {id(block.module): block for block in blocks}.values():
            assert block.value is not None
            hooks.callback(block.value.register_forward_hook(tap.remember).remove)
            hooks.callback(block.attention.register_forward_hook(tap.rewrite).remove)
        yield


def modules_in_order(model: nn.Module, name: str) -> tuple[ExitStack, list[nn.Module]]:
    """Watch for the modules whose names end in `name`: those that a forward calls, in order, until the stack closes."""
    called: list[nn.Module] = []
    hooks = ExitStack()
    for own, module in model.named_modules():
        if own.endswith(name):
            hooks.callback(module.register_forward_hook(lambda *call: called.append(call[0])).remove)
    return hooks, called


@dataclass(slots=True, kw_only=True)
class _Tap:
    """What is known of one forward."""

    plan: BatchPlan
    visible: Tensor
    heads: int
    value: Tensor = field(default_factory=lambda: torch.zeros(()))
    """Of the layer that is being computed [B, H, K, D]."""

    def remember(self, _: nn.Module, __: object, output: Tensor) -> None:
        """Note a layer's values."""
        self.value = output.view(*output.shape[:2], self.heads, -1).transpose(1, 2)

    def rewrite(self, _: nn.Module, __: object, probabilities: Tensor) -> Tensor:
        """A layer's probabilities [B, H, Q, K], as the plan wants them."""
        plan = self.plan
        layer = plan.calls
        plan.calls += 1
        if plan.gradients:
            if torch.is_grad_enabled():
                probabilities.requires_grad_()
            self._show(probabilities, self.value)
            return probabilities
        edit = plan.edits.get(layer)
        if edit is not None:
            probabilities = self._edited(probabilities, edit)
        if plan.explicit is None or plan.explicit.first >= len(probabilities):
            return probabilities
        first = plan.explicit.first
        own = self._explicitly(layer, probabilities[first:], plan.explicit)
        return own if first == 0 else torch.cat((probabilities[:first], own))

    def _show(self, probabilities: Tensor, value: Tensor) -> None:
        if self.plan.observer is not None:
            self.plan.observer.observe(probabilities, value)

    def _edited(self, probabilities: Tensor, edit: LayerEdit) -> Tensor:
        """Bias, then blends."""
        if edit.permutation is not None:
            message = "keys are permuted in explicit rows alone"
            raise ValueError(message)
        if edit.key_bias is not None:
            probabilities = biased(probabilities, edit.key_bias, self.visible).to(probabilities.dtype)
        for blend in edit.blends:
            source = _uniform(self.visible[blend.rows]) if isinstance(blend.source, MapSource) else blend.source
            mixed = (1 - blend.gate) * probabilities[blend.rows] + blend.gate * source.to(probabilities.dtype)
            probabilities = probabilities.index_copy(0, blend.rows, mixed)
        return probabilities

    def _explicitly(self, layer: int, given: Tensor, explicit: ExplicitRows) -> Tensor:
        """The probabilities of the explicit rows [E, H, Q, K], which are observed before anything is cut."""
        visible = self.visible[explicit.first :]
        bias = explicit.logit_bias(layer, given)
        probabilities = given.to(torch.promote_types(given.dtype, torch.float32))
        if bias is not None:
            probabilities = biased(probabilities, bias, visible)
        orders, readout_orders = explicit.orders.get(layer), explicit.readout_orders.get(layer)
        if orders is not None:
            probabilities = probabilities.gather(3, orders.unsqueeze(2).expand_as(probabilities))
        if readout_orders is not None:
            probabilities = explicit.permuted_readout(probabilities, readout_orders, None)
        if explicit.uniform is not None:
            chosen = explicit.uniform[:, layer, None, None, None]
            probabilities = torch.where(chosen, _uniform(visible).to(probabilities.dtype), probabilities)
        self._show(probabilities, self.value[explicit.first :])
        return explicit.passed_on(probabilities, layer).to(given.dtype)


def biased(probabilities: Tensor, bias: Tensor, visible: Tensor) -> Tensor:
    """What a bias of the logits makes of probabilities [B, H, Q, K]; what is masked stays so, and if all is, uniform.

    `bias` [B, H or 1, Q or 1, K]; finfo.min knocks a key out, renormalised.
    """
    wide = probabilities.to(torch.promote_types(probabilities.dtype, torch.float32))
    least = torch.finfo(wide.dtype)
    logits = wide.clamp(min=least.tiny).log().masked_fill(~visible, least.min)
    return (logits + bias).clamp(min=least.min).softmax(dim=-1)


def _uniform(visible: Tensor) -> Tensor:
    """Equal weight on every visible key [B, 1, 1, K]."""
    return visible / visible.sum(dim=-1, keepdim=True).clamp(min=1)
