"""Decomposed logits against vectors that are carried up through every layer, one for each pair of tokens, in numpy.

The service goes down once with adjoints; here every token's contribution to every position is built, T x T x E, as
DecompX defines it (Modarressi et al. 2023, section 3), beside the true states, from the stock model's weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from transformers.activations import ACT2FN

from rollcall.backends.base import Decomposition
from rollcall.backends.decomposition import Decomposer, FeedForward, _Seen
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import Encoding, TextInput, WordRef
from rollcall.domain.maps import Floats, MapKind
from rollcall.models.families import FAMILIES as ROWS
from rollcall.models.loading import load_model
from tests.tiny import FAMILIES, TEXT, Tiny, Zoo, make_model
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch

DECISION = Decision(task=Task.SINGLE_LABEL, target=1)
SEVERAL = Decision(task=Task.MULTI_LABEL, target=2)

_BERT = ("attention.self.value", "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense")
_NAMES = {
    "distilbert": (
        "distilbert.transformer.layer.{}.",
        ("attention.v_lin", "attention.out_lin", "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"),
        ("pre_classifier", "relu", "classifier"),
    ),
    "albert": (
        "albert.encoder.albert_layer_groups.0.albert_layers.0.",
        ("attention.value", "attention.dense", "attention.LayerNorm", "ffn", "ffn_output", "full_layer_layer_norm"),
        ("albert.pooler", "tanh", "classifier"),
    ),
    "bert": (
        "bert.encoder.layer.{}.",
        (*_BERT, "output.dense", "output.LayerNorm"),
        ("bert.pooler.dense", "tanh", "classifier"),
    ),
    "electra": (
        "electra.encoder.layer.{}.",
        (*_BERT, "output.dense", "output.LayerNorm"),
        ("classifier.dense", "gelu", "classifier.out_proj"),
    ),
    "roberta": (
        "roberta.encoder.layer.{}.",
        (*_BERT, "output.dense", "output.LayerNorm"),
        ("classifier.dense", "tanh", "classifier.out_proj"),
    ),
}
_NAMES["xlm-roberta"] = _NAMES["camembert"] = _NAMES["roberta"]


@dataclass(slots=True, kw_only=True)
class Carried:
    """True states [T, E], and the parts of them: of each token [source, T, E] and of the biases [T, E]."""

    states: Floats
    parts: Floats
    biases: Floats

    def linear(self, module: Any) -> Carried:  # noqa: ANN401 - a linear layer
        """Every part through the weights, the bias to the biases."""
        weight, bias = array(module.weight), array(module.bias)
        return Carried(
            states=self.states @ weight.T + bias, parts=self.parts @ weight.T, biases=self.biases @ weight.T + bias
        )

    def plus(self, other: Carried) -> Carried:
        """A residual."""
        return Carried(
            states=self.states + other.states, parts=self.parts + other.parts, biases=self.biases + other.biases
        )

    def norm(self, module: Any) -> Carried:  # noqa: ANN401 - a layer norm
        """Centred, divided by the spread of the whole, scaled; the shift belongs to the biases."""
        spread = np.sqrt(self.states.var(axis=-1, keepdims=True) + module.eps)

        def normed(vectors: Floats) -> Floats:
            return np.asarray((vectors - vectors.mean(axis=-1, keepdims=True)) / spread * array(module.weight))

        shift = array(module.bias)
        return Carried(states=normed(self.states) + shift, parts=normed(self.parts), biases=normed(self.biases) + shift)

    def activated(self, name: str) -> Carried:
        """Every part times act(x) / x."""
        after = ACT2FN[name](torch.from_numpy(self.states)).numpy()
        gate = after / self.states
        return Carried(states=after, parts=self.parts * gate, biases=self.biases * gate)

    def attended(self, attention: Floats) -> Carried:
        """Every part of the values mixed by the weights [H, T, T] as they were."""
        heads = len(attention)

        def mixed(vectors: Floats) -> Floats:
            split = vectors.reshape(*vectors.shape[:-1], heads, -1)
            return np.asarray(np.einsum("hqk,...khd->...qhd", attention, split).reshape(vectors.shape))

        return Carried(states=mixed(self.states), parts=mixed(self.parts), biases=mixed(self.biases))


def array(tensor: torch.Tensor) -> Floats:
    """As numpy."""
    return np.asarray(tensor.detach().double().numpy())


def carried(tiny: Tiny, encoding: Encoding, place: int = 0) -> Carried:
    """Logits [1, C] of the head that reads a place, with their parts."""
    prefix, names, (head_in, head_act, head_out) = _NAMES[tiny.family]
    config: Any = tiny.eager.config
    reading = stock.read(tiny, Batch.of(tuple(encoding.input_ids.tolist())))
    length = encoding.length
    states = reading.states[0]
    parts = np.zeros((length, *states.shape))
    parts[np.arange(length), np.arange(length)] = states
    now = Carried(states=states, parts=parts, biases=np.zeros_like(states))
    act = config.activation if tiny.family == "distilbert" else config.hidden_act
    for layer, attention in enumerate(reading.attention):
        value, out, first, into, down, second = (
            tiny.eager.get_submodule(prefix.format(layer) + name) for name in names
        )
        now = now.plus(now.linear(value).attended(attention).linear(out)).norm(first)
        now = now.plus(now.linear(into).activated(act).linear(down)).norm(second)
        assert_allclose(now.states, reading.states[layer + 1], atol=1e-9)
    own = slice(place, place + 1)
    head = Carried(states=now.states[own], parts=now.parts[:, own], biases=now.biases[own])
    find = tiny.eager.get_submodule
    if tiny.words:
        head = head.linear(find("classifier"))
        assert_allclose(head.states[0], reading.logits[place], atol=1e-9)
        return head
    head = head.linear(find(head_in)).activated(head_act).linear(find(head_out))
    assert_allclose(head.states[0], reading.logits, atol=1e-9)
    return head


def decomposed(tiny: Tiny, decision: Decision = DECISION) -> tuple[Encoding, Decomposition]:
    """A sentence, taken apart by the service."""
    encoding = tiny.backend.encode(TextInput(text=TEXT))
    return encoding, tiny.backend.decompose(encoding, decision)


@pytest.mark.parametrize("decision", [DECISION, SEVERAL], ids=["margin", "one label"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_way_down_gives_what_the_way_up_gives(zoo: Zoo, family: str, decision: Decision) -> None:
    """Each token's part, and that of the biases, is the one that its vectors carry up to the logits."""
    tiny = zoo.precise(family)
    encoding, found = decomposed(tiny, decision)
    head = carried(tiny, encoding)
    direction = decision.gradient(head.states[0])
    expected = head.parts[:, 0] @ direction
    scale = np.abs(expected).max()
    assert_allclose(found.tokens.numpy(), expected, atol=1e-9 * scale)
    assert float(found.biases) == pytest.approx(head.biases[0] @ direction, abs=1e-9)
    assert scale > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_words_label_is_taken_apart_where_the_word_is(tmp_path: Path, family: str) -> None:
    """Of a model that labels words, too: from the word's own place down, through its one linear map."""
    directory = make_model(family, tmp_path, words=True)
    tiny = Tiny(family=family, directory=directory, dtype=torch.float64, words=True)
    encoding = tiny.backend.encode(TextInput(text=TEXT, word=WordRef(index=4)))
    assert encoding.word is not None
    found, head = tiny.backend.decompose(encoding, DECISION), carried(tiny, encoding, encoding.word.token_start)
    direction = DECISION.gradient(head.states[0])
    expected = head.parts[:, 0] @ direction
    assert_allclose(found.tokens.numpy(), expected, atol=1e-9 * np.abs(expected).max())
    assert float(found.biases) == pytest.approx(head.biases[0] @ direction, abs=1e-9)


@pytest.mark.parametrize("pair", [None, "it isn't bad, but the ending is dull"])
def test_the_parts_sum_to_the_whole(alike: Tiny, pair: str | None) -> None:
    """In single precision, tokens and biases sum to the margin's direction in the logits, to 1e-5 of its size."""
    encoding = alike.backend.encode(TextInput(text=TEXT, text_pair=pair))
    found = alike.backend.decompose(encoding, DECISION)
    whole = float(found.total)
    assert float(found.tokens.sum() + found.biases) == pytest.approx(whole, abs=1e-5 * max(1.0, abs(whole)))
    logits = stock.stock_logits(alike, alike.sdpa, Batch.of(tuple(encoding.input_ids.tolist())))
    if pair is None:
        direction = DECISION.gradient(logits[0].double().numpy())
        assert whole == pytest.approx(float(direction @ logits[0].double().numpy()), abs=1e-4)


@pytest.mark.parametrize("length", [3, 512])
def test_every_length_is_decomposed(alike: Tiny, length: int) -> None:
    """From one word to the longest text."""
    found = alike.backend.decompose(alike.backend.synthetic(length), DECISION)
    assert found.tokens.shape == (length,)
    assert float(found.tokens.sum() + found.biases) == pytest.approx(float(found.total), abs=1e-4)


def test_it_knows_the_class(bert: Tiny) -> None:
    """What speaks for one class is not what speaks for another; for a foil the signs turn with the question."""
    ways = [Decision(task=Task.SINGLE_LABEL, target=a, foil=b, by_sign=True) for a, b in ((0, 1), (1, 0), (0, 2))]
    first, turned, other = (decomposed(bert, way)[1].tokens.numpy() for way in ways)
    assert_allclose(first, -turned, atol=1e-6)
    assert np.abs(first - other).max() > 1e-2 * np.abs(first).max()


def test_nothing_is_left_behind(alike: Tiny) -> None:
    """After a decomposition, also after one that failed, the model has no hook more and gives the same answers."""
    model = alike.backend._model
    batch = Batch.of(stock.random_ids(alike, 9))
    before, hooks = stock.stock_logits(alike, model, batch), count_hooks(model)
    decomposed(alike)
    with pytest.raises(IndexError):
        decomposed(alike, Decision(task=Task.SINGLE_LABEL, target=99))
    assert count_hooks(model) == hooks
    assert torch.equal(before, stock.stock_logits(alike, model, batch))


def count_hooks(model: torch.nn.Module) -> int:
    """Of all modules."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_every_family_of_today_can_do_it(alike: Tiny) -> None:
    """The self-test passed, and the map is offered."""
    (test,) = [test for test in alike.loaded.self_tests if test.name == "decomposition_is_exact"]
    assert test.passed
    assert MapKind.DECOMPOSITION in alike.loaded.maps


@pytest.mark.parametrize("wrong", ["another norm", "another head", "nowhere"])
def test_a_model_that_it_does_not_fit_does_not_offer_it(zoo: Zoo, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    """Where the parts do not sum up, or are not known, the map is switched off at load and all else is served."""
    if wrong == "nowhere":
        layout = replace(ROWS["bert"].layout, head_out="")
        monkeypatch.setattr("rollcall.models.loading.FAMILIES", {"bert": replace(ROWS["bert"], layout=layout)})
    else:
        original = Decomposer.decompose

        def sabotaged(
            self: Decomposer,
            inputs: Any,  # noqa: ANN401 - passed on
            decision: Decision,
            readout: int,
        ) -> Decomposition:
            if wrong == "another head":
                assert isinstance(self.head, FeedForward)
                head = FeedForward(into=self.head.into, out=torch.nn.Linear(32, 3))
                return original(replace(self, head=head), inputs, decision, readout)
            blocks = tuple(replace(block, norms=block.norms[:1] * 2) for block in self.blocks)
            return original(replace(self, blocks=blocks), inputs, decision, readout)

        monkeypatch.setattr(Decomposer, "decompose", sabotaged)
    loaded = load_model(zoo["bert"].directory)
    failed = [test.name for test in loaded.self_tests if not test.passed]
    assert failed == ([] if wrong == "nowhere" else ["decomposition_is_exact"])
    assert not loaded.failed
    assert set(loaded.maps) == set(MapKind) - {MapKind.DECOMPOSITION}


def test_a_gate_of_nothing_is_shut() -> None:
    """Where nothing goes into an activation nothing comes out, and nothing is divided by it."""
    seen = _Seen()
    seen.before(torch.nn.Identity(), (), torch.tensor([[0.0, 2.0, -1e-30]]))
    seen.after(torch.nn.Identity(), (torch.tensor([[0.0, 1.0, -5e-31]]),))
    assert seen.gates[0].tolist() == [[0.0, 0.5, 0.5]]


def test_models_in_half_precision_say_what_they_can_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In bfloat16 the parts sum up as well as its numbers allow, or the map is not offered."""
    loaded = load_model(make_model("bert", tmp_path_factory.mktemp("half")), dtype="bfloat16")
    (test,) = [test for test in loaded.self_tests if test.name == "decomposition_is_exact"]
    assert test.passed is (MapKind.DECOMPOSITION in loaded.maps)
    assert test.value < 0.5
