"""Captum: leave-one-out by feature ablation, and integrated gradients, on token ids."""

from typing import Any

import torch
from _peer import load, serve
from captum.attr import FeatureAblation, LayerIntegratedGradients

STEPS = 50


class Peer:
    """The model and what is computed with it."""

    def load(self, directory: str) -> dict[str, Any]:
        """Load the model."""
        self.model, self.tokenizer, self.counter = load(directory)
        return {}

    def _logits(self, content: torch.Tensor) -> torch.Tensor:
        """Logits of content tokens, with the special tokens put around them, which are never removed."""
        ends = [torch.full((len(content), 1), i) for i in (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id)]
        ids = torch.cat([ends[0], content, ends[1]], dim=1)
        mask, types = torch.ones_like(ids), torch.zeros_like(ids)
        return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits

    def leave_one_out(self, ids: list[int], target: int, per_eval: int | None) -> dict[str, Any]:
        """Logit of the target minus the same without each token; None leaves the number per forward as it is."""
        options = {} if per_eval is None else {"perturbations_per_eval": per_eval}
        scores = FeatureAblation(self._logits).attribute(
            torch.tensor([ids[1:-1]]), baselines=self.tokenizer.mask_token_id, target=target, **options
        )
        return {"scores": scores[0].double().tolist(), "rows": self.counter.take()}

    def integrated_gradients(self, ids: list[int], target: int, per_eval: int | None) -> dict[str, Any]:
        """Integrated gradients of the embeddings; None leaves the batch as it is, all steps at once."""
        options = {} if per_eval is None else {"internal_batch_size": per_eval}
        content = torch.tensor([ids[1:-1]])
        LayerIntegratedGradients(self._logits, self.model.get_input_embeddings()).attribute(
            content,
            baselines=torch.full_like(content, self.tokenizer.mask_token_id),
            target=target,
            n_steps=STEPS,
            **options,
        )
        return {"rows": self.counter.take()}


if __name__ == "__main__":
    peer = Peer()
    serve({"load": peer.load, "leave_one_out": peer.leave_one_out, "integrated_gradients": peer.integrated_gradients})
