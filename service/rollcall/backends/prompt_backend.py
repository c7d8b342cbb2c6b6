"""A Hugging Face causal language model in torch: which of a few tokens comes next, or another one?

The classes are the tokens that the operator names, and all others together: their probabilities are those of the
model's own softmax. The last position is read, so that texts are padded in front.

Shapes: B batch, T token, V vocabulary, C class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from rollcall.backends.base import BatchRow, Layout, variants
from rollcall.backends.encoding import Encoder
from rollcall.backends.readout import Readout
from rollcall.backends.self_test import Trial, trial_lengths
from rollcall.backends.sharing import synthetic_input
from rollcall.backends.staging import stage_rows
from rollcall.backends.tensors import AnyInputs, PromptInputs
from rollcall.backends.torch_backend import TorchClassifier
from rollcall.domain.decision import Task
from rollcall.domain.errors import InvalidInput
from rollcall.domain.inputs import Encoding, ModelInput, TextInput
from rollcall.domain.rows import RemovalOperator, Row

Tensor = torch.Tensor
OTHER = "(another token)"
"""Label of all tokens that nobody named."""


class PromptBackend(TorchClassifier):
    """The next token after a prompt, among `tokens` and all others."""

    readout = -1
    causal = True
    constant = MappingProxyType({"use_cache": False, "logits_to_keep": 1})
    """No cache for tokens that will not come, and the last position's logits alone."""

    def __init__(
        self, model: PreTrainedModel, encoder: Encoder, layout: Layout, *, tokens: Sequence[int], device: str
    ) -> None:
        """Take over a model that nobody else uses, with its tokenizer."""
        self._encoder = encoder
        self._tokens = torch.tensor(list(tokens), device=device)
        super().__init__(
            model,
            layout,
            max_tokens=encoder.max_tokens,
            task=Task.NEXT_TOKEN,
            device=device,
            classes=len(tokens) + 1,
        )

    def encode(self, model_input: ModelInput) -> Encoding:
        """Tokenise and find the units; raises InvalidInput, also for a prompt whose end would be cut off."""
        if isinstance(model_input, TextInput) and model_input.text_pair is not None:
            raise InvalidInput.of("text.text_pair", "this model reads one text: what comes before the next token")
        encoding = self._encoder.encode(model_input)
        if encoding.truncated:
            description = f"has {encoding.tokens_total} tokens; the model reads {encoding.length}, and its end decides"
            raise InvalidInput.of("text.text", description)
        return encoding

    def synthetic(self, length: int, seed: int = 0) -> Encoding:
        """A prompt of random ids; every token but the first and the last is a unit."""
        return synthetic_input(length, int(self._model.config.vocab_size), self._encoder.special, seed)

    def trial(self) -> Trial:
        """Two prompts, the second one shorter and padded in front."""
        lengths = trial_lengths(self.reach, self.shape.max_tokens)
        rows = [row for length in lengths for row in variants(self.synthetic(length), [Row()])]
        return Trial(batch=self._inputs(rows, lengths[0]), lengths=lengths, key=lengths[0] - 3)

    def _staged(self, rows: Sequence[BatchRow], length: int) -> dict[str, npt.NDArray[Any]]:
        """Ids, mask and types [3, B, T], what is short moved to the end, and positions [1 or B, T]."""
        staged = stage_rows(rows, length, self._encoder)
        starts = np.array([length - _tokens_of(each) for each in rows])
        for i, start in enumerate(starts):
            if start:
                staged[:, i] = np.roll(staged[:, i], start, axis=-1)
        positions = np.arange(length)[None] if not starts.any() else np.arange(length)[None] - starts[:, None]
        return {"inputs": staged, "positions": positions.clip(min=0)}

    def _see(self, tensors: Mapping[str, Tensor]) -> PromptInputs:
        input_ids, attention_mask, _ = tensors["inputs"]
        return PromptInputs(input_ids=input_ids, attention_mask=attention_mask, positions=tensors["positions"])

    def _arguments(self, inputs: AnyInputs) -> dict[str, Tensor]:
        assert isinstance(inputs, PromptInputs)
        return {
            "input_ids": inputs.input_ids,
            "attention_mask": inputs.attention_mask,
            "position_ids": inputs.positions,
        }

    def _answer(self, logits: Tensor, readout: Readout) -> Tensor:
        """Logits [B, C] of the named tokens and of the others together, of the model's [B, 1, V]."""
        del readout
        last = logits[:, -1].to(torch.promote_types(logits.dtype, torch.float32))
        others = last.index_fill(1, self._tokens, -torch.inf).logsumexp(dim=-1, keepdim=True)
        return torch.cat((last[:, self._tokens], others), dim=-1)


def _tokens_of(each: BatchRow) -> int:
    """Tokens of a row that are left."""
    row, encoding = each.row, each.encoding
    if row.removed is None or row.operator is not RemovalOperator.DELETION:
        return encoding.length
    return encoding.length - int(encoding.tokens_of(row.removed).sum())
