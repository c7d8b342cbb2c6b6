"""Two runtimes for MLServer: a classifier, and leave-one-out by Captum. Copied into its model repository."""

import numpy as np
import torch
from captum.attr import FeatureAblation
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class Classifier(MLModel):
    """Texts in, class probabilities [texts, classes] out."""

    async def load(self) -> bool:
        """Load the model, for one thread."""
        torch.set_num_threads(1)
        directory = self.settings.parameters.uri
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.network = AutoModelForSequenceClassification.from_pretrained(directory).eval()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Classify all texts of a request as one batch."""
        texts = StringCodec.decode_input(payload.inputs[0])
        with torch.inference_mode():
            batch = self.tokenizer(texts, padding=True, return_tensors="pt")
            found = self.network(**batch).logits.double().softmax(dim=-1).numpy()
        return self._response(found)

    def _response(self, found: np.ndarray) -> InferenceResponse:
        output: ResponseOutput = NumpyCodec.encode_output("scores", found)
        return InferenceResponse(model_name=self.name, outputs=[output])


class LeaveOneOut(Classifier):
    """One text in, the effect [1, tokens] of masking each of its tokens out."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Explain the predicted class."""
        (text,) = StringCodec.decode_input(payload.inputs[0])
        ids = self.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            target = int(self.network(input_ids=ids).logits.argmax())
        per_eval = self.settings.parameters.extra.get("perturbations_per_eval")
        options = {} if per_eval is None else {"perturbations_per_eval": per_eval}
        ends = ids[:, :1], ids[:, -1:]
        scores = FeatureAblation(
            lambda content: (
                self.network(
                    input_ids=torch.cat(
                        [ends[0].expand(len(content), 1), content, ends[1].expand(len(content), 1)], dim=1
                    )
                ).logits
            )
        ).attribute(ids[:, 1:-1], baselines=self.tokenizer.mask_token_id, target=target, **options)
        return self._response(scores.double().numpy())
