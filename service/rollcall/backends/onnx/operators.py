"""From the edits of a batch's rows to the inputs of an opened graph that make them.

Only inputs that change something are given; the others keep their neutral defaults.

Shapes: B row of the batch, E edited row, the last of them, L layer, H head, Q query, K key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from rollcall.backends.onnx.surgery import EDITED, bias_name, keep_name, map_name, shift_name
from rollcall.backends.onnx.windows import seen_within
from rollcall.backends.plan import ExplicitRows
from rollcall.backends.stock_attention import among_visible

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """Writes the inputs of one batch: `explicit` rows, of the tokens that are `visible` [B, K].

    `heads`, the `queries` of a text so long, and the `dtype` of attention are the graph's.
    """

    explicit: ExplicitRows
    visible: Tensor = field(repr=False)
    heads: int
    queries: int
    dtype: torch.dtype
    windows: tuple[int | None, ...]
    """How far the queries of each layer see; None is everything."""

    def feeds(self, layers: int) -> dict[str, Tensor]:
        """Inputs of all layers."""
        found: dict[str, Tensor] = {EDITED: torch.tensor(True)}  # noqa: FBT003 - torch's own
        for layer in range(layers):
            bias = self.explicit.logit_bias(layer, self._like())
            if bias is not None:
                found[bias_name(layer)] = self._all_rows(bias.clamp(min=torch.finfo(self.dtype).min), 0)
            shift = self._shift(layer)
            if shift is not None:
                found[shift_name(layer)] = self._all_rows(shift, 0)
            keep, added = self._replacement(layer)
            if keep is not None:
                found[keep_name(layer)] = self._all_rows(keep, 1)
            if added is not None:
                found[map_name(layer)] = self._all_rows(added, 0)
        return found

    def _like(self) -> Tensor:
        """What has the shape of the edited rows' queries, [E, H, Q, 0]."""
        return torch.empty(len(self.visible) - self.explicit.first, self.heads, self.queries, 0)

    def _shift(self, layer: int) -> Tensor | None:
        """How far each weight's key lies from its own place [E, H, 1 or Q, K]."""
        orders, own = self.explicit.orders.get(layer), self.explicit.readout_orders.get(layer)
        places = torch.arange(self.visible.shape[1])
        seen = self._seen(layer)

        def moved(order: Tensor, rows: Tensor | None) -> Tensor:
            return (order.unsqueeze(2) if rows is None else among_visible(order, rows)) - places

        shift = None if orders is None else moved(orders, seen)
        if own is None:
            return shift
        readout = self.explicit.readout
        everybody = own.new_zeros(*own.shape[:2], self.queries, len(places))
        if shift is not None:
            everybody += shift
        everybody[:, :, [readout]] += moved(own, None if seen is None else seen[:, :, [readout]])
        return everybody

    def _seen(self, layer: int) -> Tensor | None:
        """Which keys each query of the edited rows sees in a layer [E, 1, Q, K]; None where that is no window."""
        return seen_within(self.windows[layer], self.visible[self.explicit.first :])

    def _replacement(self, layer: int) -> tuple[Tensor | None, Tensor | None]:
        """What multiplies the weights [E, 1 or H, 1 or Q, 1 or K], and what is added to them [E, 1, 1 or Q, K]."""
        explicit, visible = self.explicit, self.visible[self.explicit.first :].float()
        keep, added = None, None
        if explicit.silenced is not None or explicit.edges is not None:
            heads = self.heads if explicit.silenced is not None else 1
            queries, keys = (self.queries, visible.shape[1]) if explicit.edges is not None else (1, 1)
            keep = explicit.passed_on(torch.ones(len(visible), heads, queries, keys), layer)
        if explicit.uniform is not None:
            chosen = explicit.uniform[:, layer, None, None, None].float()
            seen = self._seen(layer)
            shown = visible[:, None, None] if seen is None else seen.float()
            shares = shown / shown.sum(dim=-1, keepdim=True).clamp(min=1)
            keep = (1 - chosen) if keep is None else keep * (1 - chosen)
            added = chosen * shares
        return keep, added

    def _all_rows(self, edits: Tensor, neutral: float) -> Tensor:
        """Edits of all rows [B, ...]: those before the edited ones keep what they have."""
        before = edits.new_full((self.explicit.first, *edits.shape[1:]), neutral)
        return torch.cat((before, edits)) if self.explicit.first else edits
