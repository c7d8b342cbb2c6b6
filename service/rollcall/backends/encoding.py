"""From a request's input to token ids and units, with the model's own tokenizer.

Never re-tokenises a perturbed text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from transformers import BatchEncoding, PreTrainedTokenizerFast

from rollcall.backends.units import Piece, find_units, group_units
from rollcall.domain.errors import FieldViolation, InvalidInput
from rollcall.domain.inputs import Encoding, ModelInput, TextInput, TokensInput, Unit
from rollcall.domain.maps import Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the model reads of an input: ids and types [T], and each text with its words, before any are grouped.

    `sent` are the words of the first text, or all ids' of an input that is cut already, as the caller sent it.
    """

    ids: Ints = field(repr=False)
    types: Ints = field(repr=False)
    sides: list[tuple[str, list[Unit]]] = field(repr=False)
    total: int
    sent: list[Unit] = field(repr=False)
    batch: BatchEncoding | None = field(default=None, repr=False)
    """What the tokenizer made of a text."""

    @property
    def words(self) -> list[Unit]:
        """All of them."""
        return [word for _, words in self.sides for word in words]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A tokenizer with the model's limits. Not for concurrent use: one thread encodes."""

    tokenizer: PreTrainedTokenizerFast = field(repr=False)
    max_tokens: int
    max_units: int
    vocabulary: int

    @property
    def padding_token(self) -> int:
        """Id behind the end of a text; without a padding token any id will do, since it is masked."""
        padding = self.tokenizer.pad_token_id
        return 0 if padding is None else int(padding)

    @property
    def removal_token(self) -> int:
        """The mask token, or where the vocabulary has none the unknown token, or the end of a text."""
        return self._known("mask_token_id", "unk_token_id", "eos_token_id")

    @property
    def special(self) -> tuple[int, int]:
        """Ids of the classification and the separator token, or of what begins and ends a text without them."""
        first = self._known("cls_token_id", "bos_token_id", "eos_token_id")
        return first, self._known("sep_token_id", "eos_token_id")

    def _known(self, *names: str) -> int:
        """The first of the tokenizer's special tokens that it has; 0 without any."""
        found = (getattr(self.tokenizer, name) for name in names)
        return int(next((token for token in found if token is not None), 0))

    def encode(self, model_input: ModelInput) -> Encoding:
        """Encode; raises InvalidInput where nothing readable is left or an id is wrong."""
        reading = self.read(model_input)
        if isinstance(model_input, (TextInput, TokensInput)) and model_input.word is not None:
            name = "text.word" if isinstance(model_input, TextInput) else "tokens.word"
            raise InvalidInput.of(name, "this model answers about the whole input, and not about one word of it")
        return self.finish(reading)

    def read(self, model_input: ModelInput) -> Reading:
        """Find ids and words; raises InvalidInput likewise."""
        if isinstance(model_input, TokensInput):
            return self._read_tokens(model_input)
        if isinstance(model_input, TextInput):
            return self._read_text(model_input)
        raise InvalidInput.of("input", "this model reads text: send text or tokens")

    def _read_text(self, text: TextInput) -> Reading:
        whole = self._tokenize(text, truncation=False)
        total = len(whole["input_ids"])
        batch = whole if total <= self.max_tokens else self._tokenize(text, truncation=True)
        sides = []
        for segment, (name, side) in enumerate((("text.text", text.text), ("text.text_pair", text.text_pair))):
            if side is None:
                continue
            pieces = _pieces(batch, segment)
            # Of a text that is cut, units show what the model reads: not the rest of a word cut in the middle.
            read = side if batch is whole else side[: max((piece.end for piece in pieces), default=0)]
            units = find_units(read, pieces, segment)
            if not units:
                raise InvalidInput.of(name, "holds no word that the model can read")
            sides.append((read, units))
        ids = np.asarray(batch["input_ids"], dtype=np.int64)
        types = np.asarray(batch.get("token_type_ids", np.zeros_like(ids)), dtype=np.int64)
        sent = sides[0][1] if batch is whole else find_units(text.text, _pieces(whole, 0), 0)
        return Reading(ids=ids, types=types, sides=sides, total=total, sent=sent, batch=batch)

    def _tokenize(self, text: TextInput, *, truncation: bool) -> BatchEncoding:
        batch: BatchEncoding = self.tokenizer(
            text.text,
            text.text_pair,
            truncation=truncation,
            max_length=self.max_tokens if truncation else None,
            return_offsets_mapping=True,
            verbose=False,
        )
        return batch

    def _read_tokens(self, tokens: TokensInput) -> Reading:
        ids = np.asarray(tokens.input_ids, dtype=np.int64)
        wrong = np.flatnonzero((ids < 0) | (ids >= self.vocabulary))
        if len(wrong):
            violations = [
                FieldViolation(
                    field=f"tokens.input_ids[{i}]", description=f"not in the vocabulary of 0 to {self.vocabulary - 1}"
                )
                for i in wrong[:20]
            ]
            raise InvalidInput(*violations)
        if len(ids) > self.max_tokens:
            raise InvalidInput.of("tokens.input_ids", f"{len(ids)} ids; the model reads at most {self.max_tokens}")
        first = self.tokenizer.cls_token_id
        if first is not None and (len(ids) == 0 or ids[0] != first):
            raise InvalidInput.of("tokens.input_ids", f"must begin with the classification token, id {first}")
        if self.tokenizer.pad_token_id is not None and (ids == self.tokenizer.pad_token_id).any():
            raise InvalidInput.of("tokens.input_ids", f"holds the padding token, id {self.tokenizer.pad_token_id}")
        special = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id, self.tokenizer.mask_token_id}
        names = self.tokenizer.convert_ids_to_tokens(ids.tolist())
        # Special tokens part the ids, as they part a pair: what is grouped into one unit must not hold one. A model
        # may have more embeddings than its tokenizer has tokens: such an id has no name.
        parts = [
            [
                Unit(text=name or f"<{ids[i]}>", token_start=i, token_end=i + 1, char_start=0, char_end=0, segment=0)
                for i, name in part
            ]
            for is_special, part in groupby(enumerate(names), key=lambda item: int(ids[item[0]]) in special)
            if not is_special
        ]
        if not parts:
            raise InvalidInput.of("tokens.input_ids", "holds nothing but special tokens")
        if len(parts) > self.max_units:
            raise InvalidInput.of(
                "tokens.input_ids", f"falls into {len(parts)} parts between special tokens, more than {self.max_units}"
            )
        sent = [unit for part in parts for unit in part]
        return Reading(
            ids=ids, types=np.zeros_like(ids), sides=[("", part) for part in parts], total=len(ids), sent=sent
        )

    def finish(self, reading: Reading) -> Encoding:
        """Group the words into units."""
        units, grouped = group_units(reading.sides, self.max_units)
        unit_of_token = np.full(len(reading.ids), -1, dtype=np.int64)
        for number, unit in enumerate(units):
            unit_of_token[unit.token_start : unit.token_end] = number
        return Encoding(
            input_ids=reading.ids,
            type_ids=reading.types,
            unit_of_token=unit_of_token,
            units=tuple(units),
            tokens_total=reading.total,
            grouped=grouped,
        )


def _pieces(batch: BatchEncoding, segment: int) -> list[Piece]:
    offsets = batch["offset_mapping"]
    return [
        Piece(position=i, start=offsets[i][0], end=offsets[i][1])
        for i, sequence in enumerate(batch.sequence_ids(0))
        if sequence == segment
    ]
