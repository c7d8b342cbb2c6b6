"""Recurrent classifiers with additive attention, trained by nobody, and exported as their users do."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from rollcall.studies.papers.recurrent.network import Network, NetworkShape, lengths_of, weights_over, words_of
from rollcall.training.pieces import SPECIAL_PIECES, piece_tokenizer
from tests.exports import DYNAMO_OPSET, LEGACY_OPSET

Tensor = torch.Tensor

SENTENCES = (
    "the film is a quiet triumph and I loved every minute of it",
    "dull lifeless story did not like ending at all",
)
WORDS = tuple(word for sentence in SENTENCES for word in sentence.lower().split())
TEXT = "the film is a quiet triumph and I did not like the ending"
POSITIONS = 128
LABELS = ("bad", "good", "neither")


def make_network(seed: int = 0) -> Network:
    """A network with sharp attention over the words of WORDS."""
    torch.manual_seed(seed)
    words = len(SPECIAL_PIECES) + len(WORDS)
    network = Network(NetworkShape(words=words, classes=len(LABELS), embedding=12, width=16))
    with torch.no_grad():
        network.embedding.weight.mul_(3)
        network.outer.weight.mul_(8)
        network.classifier.weight.mul_(6)
    return network.train(mode=False)


class Packed(nn.Module):
    """The network as it is, on packed sequences, which torch's older exporter knows."""

    def __init__(self, network: Network) -> None:
        """Wrap a network."""
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits [B, C]."""
        states = self.network.states(self.network.embed(input_ids), lengths_of(input_ids))
        return self.network.answer(self.weights(states, input_ids, attention_mask), states)

    def weights(self, states: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Attention [B, T]."""
        return weights_over(self.network.scores(states), words_of(ids) & mask.bool())


class Turned(Packed):
    """The same without packed sequences: the way back is a way there over texts that were turned round.

    Its weights are a column, and their sum with the states is written out.
    """

    def __init__(self, network: Network) -> None:
        """Make a network for each direction."""
        super().__init__(network)
        both = network.encoder["lstm"]
        assert isinstance(both, nn.LSTM)
        self.ways = nn.ModuleList()
        for suffix in ("", "_reverse"):
            way = nn.LSTM(both.input_size, both.hidden_size, batch_first=True)
            way.load_state_dict({name: getattr(both, f"{name}{suffix}") for name in way.state_dict()})
            self.ways.append(way)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits [B, C]."""
        lengths = lengths_of(input_ids)[:, None]
        places = torch.arange(input_ids.shape[1])[None]
        turned = torch.where(places < lengths, lengths - 1 - places, places).unsqueeze(-1)
        embedded = self.network.embed(input_ids)
        there = self.ways[0](embedded)[0]
        back = self.ways[1](embedded.gather(1, turned.expand(-1, -1, self.network.shape.embedding)))[0]
        states = torch.cat((there, back.gather(1, turned.expand(-1, -1, self.network.shape.width // 2))), dim=-1)
        scores = self.network.outer(self.network.inner(states).tanh())
        shown = (words_of(input_ids) & attention_mask.bool()).unsqueeze(-1)
        weights = scores.masked_fill(~shown, torch.finfo(scores.dtype).min).softmax(dim=1) * shown
        answer: Tensor = self.network.classifier((weights * states).sum(dim=1))
        return answer


class Einsum(Packed):
    """The sum as an einsum, of weights from which padding was kept by minus infinity."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits [B, C]."""
        states = self.network.states(self.network.embed(input_ids), lengths_of(input_ids))
        shown = words_of(input_ids) & attention_mask.bool()
        weights = self.network.scores(states).masked_fill(~shown, float("-inf")).softmax(dim=-1)
        answer: Tensor = self.network.classifier(torch.einsum("bt,bts->bs", weights, states))
        return answer


class Renormalised(Packed):
    """A softmax over everything, cut to the words and made whole again; the states come first in the product."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits [B, C]."""
        states = self.network.states(self.network.embed(input_ids), lengths_of(input_ids))
        shown = (words_of(input_ids) & attention_mask.bool()).float()
        weights = self.network.scores(states).softmax(dim=-1) * shown
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-13)
        answer: Tensor = self.network.classifier(torch.bmm(states.transpose(1, 2), weights.unsqueeze(-1)).squeeze(-1))
        return answer


def export_network(network: Network, out: Path, *, dynamo: bool = False, form: type[Packed] = Packed) -> Path:
    """Export by either exporter, in a `form` by the older one, with a tokenizer and a configuration of no family.

    They lie beside the file; return it.
    """
    out.mkdir(parents=True)
    tokenizer = piece_tokenizer([*SPECIAL_PIECES, *WORDS], positions=POSITIONS)
    tokenizer.save_pretrained(out)
    labels = {str(number): label for number, label in enumerate(LABELS)}
    (out / "config.json").write_text(json.dumps({"architectures": ["AdditiveAttention"], "id2label": labels}))
    ids = torch.randint(len(SPECIAL_PIECES), len(SPECIAL_PIECES) + len(WORDS), (2, 9))
    ids[:, 0], ids[:, -1] = 2, 3
    ids[1, 7:] = 0
    given = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    file = out / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, and of the older exporter's age
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        if dynamo:
            axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
            torch.onnx.export(
                Turned(network),
                kwargs=given,
                f=file,
                dynamo=True,
                opset_version=DYNAMO_OPSET,
                input_names=list(given),
                output_names=["logits"],
                dynamic_shapes=dict.fromkeys(given, axes),
                verbose=False,
            )
        else:
            torch.onnx.export(
                form(network),
                tuple(given.values()),
                file,
                dynamo=False,
                opset_version=LEGACY_OPSET,
                input_names=list(given),
                output_names=["logits"],
                dynamic_axes={name: {0: "batch", 1: "sequence"} for name in given} | {"logits": {0: "batch"}},
            )
    return file
