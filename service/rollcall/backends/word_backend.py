"""A Hugging Face token classifier in torch: which label has the word that is asked about?

The model labels every token of a text; the answer is the label of the word's first token, as such models are trained.
Where that is, is part of each row, beside its ids: rows of one batch may ask about different words, of different texts.

Shapes: B batch, T token, C class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from rollcall.backends.base import BatchRow, Layout, variants
from rollcall.backends.encoding import Encoder
from rollcall.backends.readout import Readout, read
from rollcall.backends.self_test import Trial, trial_lengths
from rollcall.backends.staging import readouts_of
from rollcall.backends.tensors import AnyInputs, WordInputs
from rollcall.backends.torch_backend import TorchBackend
from rollcall.backends.words import encode_word
from rollcall.domain.decision import Task
from rollcall.domain.inputs import Encoding, ModelInput, Unit
from rollcall.domain.rows import Row

Tensor = torch.Tensor


class WordBackend(TorchBackend):
    """The label of one word of a text."""

    def __init__(
        self, model: PreTrainedModel, encoder: Encoder, layout: Layout, *, takes_type_ids: bool, device: str
    ) -> None:
        """Take over a model that nobody else uses, with its tokenizer; its head is one linear map over the encoder."""
        layout = replace(layout, head_in="", head_out="classifier")
        super().__init__(model, encoder, layout, task=Task.TOKEN_LABEL, takes_type_ids=takes_type_ids, device=device)

    def encode(self, model_input: ModelInput) -> Encoding:
        """Tokenise, find the units, and the word that is asked about; raises InvalidInput."""
        return encode_word(self._encoder, model_input)

    def synthetic(self, length: int, seed: int = 0) -> Encoding:
        """A text of random ids, asked about one that is not always at the same place."""
        encoding = super().synthetic(length, seed)
        place = min(1 + (length // 2 + seed) % max(1, length - 2), length - 1)
        word = Unit(text="", token_start=place, token_end=place + 1, char_start=0, char_end=0, segment=0)
        return replace(encoding, word=word)

    def trial(self) -> Trial:
        """Two texts of random ids, the second one padded, each asked about a word of its own."""
        lengths = trial_lengths(self.reach, self.shape.max_tokens)
        rows = [row for seed, length in enumerate(lengths) for row in variants(self.synthetic(length, seed), [Row()])]
        return Trial(batch=self._inputs(rows, lengths[0]), lengths=lengths, key=2)

    def _staged(self, rows: Sequence[BatchRow], length: int) -> dict[str, npt.NDArray[Any]]:
        return {**super()._staged(rows, length), "readouts": readouts_of(rows)}

    def _see(self, tensors: Mapping[str, Tensor]) -> WordInputs:
        ids, visible, types = tensors["inputs"]
        return WordInputs(input_ids=ids, attention_mask=visible, type_ids=types, readouts=tensors["readouts"])

    def _readouts(self, inputs: AnyInputs) -> Readout:
        assert isinstance(inputs, WordInputs)
        return inputs.readouts

    def _answer(self, logits: Tensor, readout: Readout) -> Tensor:
        """Logits [B, C] of each row's word, of the model's [B, T or 1, C]."""
        return read(logits, readout)[:, 0]
