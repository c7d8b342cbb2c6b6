"""nnsight: attention of some layers replaced by its own permutations."""

from typing import Any

import torch
from _peer import load, serve
from nnsight import NNsight


class Peer:
    """The model and what is computed with it; permutations are given first, so that reading them is not timed."""

    def load(self, directory: str) -> dict[str, Any]:
        """Load the model twice: attention as explicit operations, and as the fused kernel."""
        eager, _, self.counter = load(directory, attn_implementation="eager")
        fused, _, self.fused_counter = load(directory, attn_implementation="sdpa")
        self.eager, self.fused = NNsight(eager), NNsight(fused)
        self.orders: dict[str, torch.Tensor] = {}
        return {}

    def permutations(self, name: str, orders: list[Any]) -> dict[str, Any]:
        """Keep key orders [row, layer, head, key] under a name."""
        self.orders[name] = torch.tensor(orders)
        return {}

    def loop(self, name: str, ids: list[int], layers: list[int]) -> dict[str, Any]:
        """One trace per row."""
        logits = [self._replaced(ids, order[None], layers) for order in self.orders[name]]
        return {"scores": torch.cat(logits).double().tolist(), "rows": self.counter.take()}

    def batched(self, name: str, ids: list[int], layers: list[int], batch: int) -> dict[str, Any]:
        """One trace per batch of rows."""
        logits = [self._replaced(ids, orders, layers) for orders in self.orders[name].split(batch)]
        return {"scores": torch.cat(logits).double().tolist(), "rows": self.counter.take()}

    def gathered(self, name: str, ids: list[int], layers: list[int], batch: int) -> dict[str, Any]:
        """The same by algebra: values in inverse order into the fused kernel, as a user who knows how could do it."""
        logits = [self._reordered(ids, orders, layers) for orders in self.orders[name].split(batch)]
        return {"scores": torch.cat(logits).double().tolist(), "rows": self.fused_counter.take()}

    def _replaced(self, ids: list[int], orders: torch.Tensor, layers: list[int]) -> torch.Tensor:
        model = self.eager
        with torch.no_grad(), model.trace(**_inputs(ids, len(orders))):
            for layer in layers:
                attention = model.bert.encoder.layer[layer].attention.self.source.attention_interface_1
                dropout = attention.source.nn_functional_dropout_0
                weights = dropout.output
                dropout.output = weights.gather(-1, orders[:, layer, :, None].expand(*weights.shape))
            logits = model.output.logits.save()
        return logits  # noqa: RET504 - what is inside the block is only traced

    def _reordered(self, ids: list[int], orders: torch.Tensor, layers: list[int]) -> torch.Tensor:
        model = self.fused
        inverse = orders.argsort(dim=-1)
        with torch.no_grad(), model.trace(**_inputs(ids, len(orders))):
            for layer in layers:
                attention = model.bert.encoder.layer[layer].attention.self.source.attention_interface_1
                (module, query, key, value, *rest), named = attention.inputs
                moved = value.gather(2, inverse[:, layer, :, :, None].expand(*value.shape))
                attention.inputs = ((module, query, key, moved, *rest), named)
            logits = model.output.logits.save()
        return logits  # noqa: RET504 - what is inside the block is only traced


def _inputs(ids: list[int], rows: int) -> dict[str, torch.Tensor]:
    tokens = torch.tensor([ids]).expand(rows, -1)
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "token_type_ids": torch.zeros_like(tokens)}


if __name__ == "__main__":
    peer = Peer()
    serve(
        {
            "load": peer.load,
            "permutations": peer.permutations,
            "loop": peer.loop,
            "batched": peer.batched,
            "gathered": peer.gathered,
        }
    )
