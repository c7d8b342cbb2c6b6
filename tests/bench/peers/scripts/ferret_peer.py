"""ferret: AOPC comprehensiveness and sufficiency, and tau-LOO, of one map."""

from typing import Any

import numpy as np
from _peer import load, serve
from ferret import AOPC_Comprehensiveness_Evaluation, AOPC_Sufficiency_Evaluation, TauLOO_Evaluation
from ferret.explainers.explanation import Explanation
from ferret.model_utils import ModelHelper

MASKED = {"remove_tokens": False}
"""ferret's own option: removed tokens are replaced by the mask token instead of deleted."""


class Batching(ModelHelper):
    """ferret's model helper with another batch size than its 8, which its metrics give no way to set."""

    def __init__(self, model: Any, tokenizer: Any, size: int) -> None:
        """Take the batch size."""
        super().__init__(model, tokenizer)
        self.size = size

    def _forward(self, text: Any, **options: Any) -> Any:
        return super()._forward(text, batch_size=self.size, **options)


class Peer:
    """The model and what is computed with it."""

    def load(self, directory: str) -> dict[str, Any]:
        """Load the model."""
        self.model, self.tokenizer, self.counter = load(directory)
        return {}

    def evaluate(
        self, text: str, tokens: list[str], scores: list[float], target: int, batch: int | None
    ) -> dict[str, Any]:
        """All three metrics; None leaves the batch size as it is."""
        explanation = Explanation(text=text, tokens=tokens, scores=np.array(scores), explainer="given", target=target)
        found = []
        for metric, options in (
            (AOPC_Comprehensiveness_Evaluation, {"removal_args": MASKED}),
            (AOPC_Sufficiency_Evaluation, {"removal_args": MASKED}),
            (TauLOO_Evaluation, {}),
        ):
            evaluator = metric(self.model, self.tokenizer)
            if batch is not None:
                evaluator.helper = Batching(self.model, self.tokenizer, batch)
            found.append(float(evaluator.compute_evaluation(explanation, target=target, **options).score))
        return {"scores": found, "rows": self.counter.take()}


if __name__ == "__main__":
    peer = Peer()
    serve({"load": peer.load, "evaluate": peer.evaluate})
