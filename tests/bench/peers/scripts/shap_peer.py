"""shap: its partition explainer on a text, by a pipeline as documented, or by a batched function."""

from typing import Any

import numpy as np
import shap
import torch
from _peer import load, serve
from transformers import pipeline


class Peer:
    """The model and what is computed with it."""

    def load(self, directory: str) -> dict[str, Any]:
        """Load the model."""
        self.model, self.tokenizer, self.counter = load(directory)
        self.seen: list[tuple[list[list[int]], list[list[float]]]] = []
        self.pipe = pipeline("text-classification", model=self.model, tokenizer=self.tokenizer, top_k=None)
        return {}

    def _probabilities(self, texts: Any) -> np.ndarray:
        with torch.inference_mode():
            batch = self.tokenizer([str(text) for text in texts], padding=True, return_tensors="pt")
            return self.model(**batch).logits.softmax(dim=-1).numpy()

    def explain(self, text: str, batch: int | None) -> dict[str, Any]:
        """Shapley values; None means the pipeline and all defaults."""
        if batch is None:
            values = shap.Explainer(self.pipe)([text], silent=True)
        else:
            masker = shap.maskers.Text(self.tokenizer)
            values = shap.Explainer(self._probabilities, masker)([text], batch_size=batch, silent=True)
        return {"total": np.abs(values.values).sum().item(), "rows": self.counter.take()}

    def recorded(self, text: str, batch: int | None) -> dict[str, Any]:
        """The same, and every row that it ran: token ids and logits."""
        ids: list[list[int]] = []
        logits: list[list[float]] = []

        def remember(_: torch.nn.Module, __: Any, given: dict[str, torch.Tensor], output: Any) -> None:
            ids.extend(given["input_ids"].tolist())
            logits.extend(output.logits.double().tolist())

        hook = self.model.register_forward_hook(remember, with_kwargs=True)
        try:
            answer = self.explain(text, batch)
        finally:
            hook.remove()
        return {**answer, "ids": ids, "logits": logits}


if __name__ == "__main__":
    peer = Peer()
    serve({"load": peer.load, "explain": peer.explain, "recorded": peer.recorded})
