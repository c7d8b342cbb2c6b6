"""Recurrent encoders with additive attention as exported files, against the torch backend of the papers' studies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.helper import make_node

from rollcall.backends.base import BatchOutput, CaptureRequest, variants
from rollcall.backends.encoding import Encoder
from rollcall.backends.onnx.backend import OnnxBackend
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import AttentionSelection, MapKind, MapOptions
from rollcall.domain.model import Declared
from rollcall.domain.rows import AttentionEdit, KeyScope, QueryScope, RemovalOperator, Row
from rollcall.domain.verdicts import Scope
from rollcall.models.loading import LoadedModel, load_model
from rollcall.studies.papers.recurrent.backend import RecurrentBackend
from tests.recurrents import LABELS, POSITIONS, TEXT, Einsum, Packed, Renormalised, export_network, make_network

CLOSE = 1e-5
UNITS = len(TEXT.split())
EDITS = {
    "identity": Row(edit=AttentionEdit.IDENTITY, readout=True),
    "uniform": Row(edit=AttentionEdit.UNIFORM, readout=True),
    "permuted": Row(edit=AttentionEdit.PERMUTED, seed=3, readout=True),
    "permuted for the read-out": Row(edit=AttentionEdit.PERMUTED, queries=QueryScope.READOUT, seed=5, readout=True),
    "permuted elsewhere": Row(edit=AttentionEdit.PERMUTED, layers=(), seed=4, readout=True),
    "knocked out": Row(edit=AttentionEdit.KNOCKED_OUT, units=np.arange(UNITS) % 3 == 0, readout=True),
    "cut": Row(edit=AttentionEdit.CUT, units=np.arange(UNITS) % 3 == 1, readout=True),
    "silenced": Row(edit=AttentionEdit.SILENCED, heads=(0,), readout=True),
    "biased": Row(
        edit=AttentionEdit.BIASED, bias=np.random.default_rng(0).normal(size=(1, 1, UNITS + 2)) * 2, readout=True
    ),
}


@pytest.fixture(scope="module", params=[False, True], ids=["packed by the older exporter", "turned by the newer one"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """The network as served, from the file of either exporter."""
    return load_model(
        export_network(make_network(), tmp_path_factory.mktemp("recurrent") / "model", dynamo=request.param)
    )


@pytest.fixture(name="backend")
def exported(loaded: LoadedModel) -> OnnxBackend:
    """What runs it."""
    assert isinstance(loaded.backend, OnnxBackend)
    return loaded.backend


@pytest.fixture(scope="module", name="original")
def by_torch(loaded: LoadedModel) -> RecurrentBackend:
    """The same network in torch, where edits are plain formulas."""
    assert isinstance(loaded.backend, OnnxBackend)
    encoder: Encoder = loaded.backend._encoder
    return RecurrentBackend(network=make_network(), encoder=encoder)


def test_it_is_one_layer_of_one_head(loaded: LoadedModel) -> None:
    """Every self-test holds; the maps are those of one attention, and the others say why there are none."""
    assert loaded.failed == ()
    assert all(test.passed for test in loaded.self_tests if test.name != "batch_is_neutral")
    assert (loaded.family, loaded.labels, loaded.scope) == ("AdditiveAttention", LABELS, Scope.ALL_LAYERS)
    assert loaded.maps == (MapKind.RAW_ATTENTION, MapKind.LEAVE_ONE_OUT, MapKind.EFFECT)
    reasons = {missing.kind: missing.reason for missing in loaded.lacking}
    assert "sums the states" in reasons[MapKind.ATTENTION_ROLLOUT]
    shape = loaded.backend.shape
    assert (shape.layers, shape.heads, shape.width, shape.max_tokens) == (1, 1, 16, POSITIONS)


def test_attention_and_answer_are_those_of_torch(backend: OnnxBackend, original: RecurrentBackend) -> None:
    """Weights over the words alone, the pooled state, and logits."""
    request = CaptureRequest(
        maps=frozenset(),
        options=MapOptions(),
        decide=lambda _: Decision(task=Task.SINGLE_LABEL, target=0),
        attention=AttentionSelection(),
    )
    found, expected = (each.capture(read(each), request) for each in (backend, original))
    assert found.attention is not None
    assert expected.attention is not None
    assert (found.attention.readout - expected.attention.readout).abs().max() <= CLOSE
    assert found.attention.readout[0, 0, 0, [0, -1]].tolist() == [0, 0]
    assert found.state is not None
    assert expected.state is not None
    assert (found.state - expected.state).abs().max() <= CLOSE
    assert (found.logits - expected.logits).abs().max() <= CLOSE
    assert not found.uniform
    assert found.selected is not None
    assert found.selected.shape == (1, 1, 1, UNITS + 2)


@pytest.mark.parametrize("form", [Einsum, Renormalised])
def test_other_ways_to_write_the_sum(tmp_path: Path, original: RecurrentBackend, form: type[Packed]) -> None:
    """An einsum, states before weights, masks before and after the softmax: the same weights over the same words."""
    found = load_model(export_network(make_network(), tmp_path / "model", form=form))
    assert (found.failed, found.scope) == ((), Scope.ALL_LAYERS)
    rows = [EDITS["identity"], EDITS["uniform"], EDITS["permuted"], EDITS["silenced"]]
    expected = original.run(variants(read(original), rows))
    assert isinstance(found.backend, OnnxBackend)
    assert_same(found.backend.run(variants(read(found.backend), rows)), expected)


def test_edits_are_those_of_torch(backend: OnnxBackend, original: RecurrentBackend) -> None:
    """What each edit does to the weights, by the same draws: logits, pooled states, and maps under it."""
    rows = [*EDITS.values(), Row(readout=True)]
    found, expected = (each.run(variants(read(each), rows)) for each in (backend, original))
    assert_same(found, expected)
    untouched = found.logits[-1]
    moved = {name: float((found.logits[i] - untouched).abs().max()) for i, name in enumerate(EDITS)}
    assert {name for name, change in moved.items() if change <= CLOSE} == {"identity", "permuted elsewhere"}


def test_edits_of_longer_and_shorter_texts_share_a_batch(backend: OnnxBackend, original: RecurrentBackend) -> None:
    """Padding, and other words of the batch, are none of a row's."""
    texts = (TEXT, "dull lifeless story", "every minute of it is dull")
    rows = [Row(edit=edit, seed=7, readout=True) for edit in (AttentionEdit.PERMUTED, AttentionEdit.UNIFORM)]

    def run(each: OnnxBackend | RecurrentBackend) -> BatchOutput:
        return each.run([row for text in texts for row in variants(read(each, text), rows)])

    assert_same(run(backend), run(original))


@pytest.mark.parametrize("operator", [RemovalOperator.MASK_TOKEN, RemovalOperator.DELETION])
def test_words_are_masked_or_taken_out(
    loaded: LoadedModel, backend: OnnxBackend, original: RecurrentBackend, operator: RemovalOperator
) -> None:
    """A word that attention does not see is still read, so that these two ways decide; they are torch's."""
    assert loaded.removals.usual == read(backend).removals.usual
    assert loaded.removals.every == (RemovalOperator.MASK_TOKEN, RemovalOperator.DELETION)
    masks = np.random.default_rng(1).random((4, UNITS)) < 0.5
    rows = [Row(removed=mask, operator=operator) for mask in masks]
    found, expected = (each.run(variants(read(each), rows)) for each in (backend, original))
    assert_same(found, expected)


def test_words_of_a_pair_are_permuted_within_their_text(backend: OnnxBackend) -> None:
    """What was the first text's attention stays the first text's."""
    encoding = backend.encode(TextInput(text="the film is dull", text_pair="I loved every minute of it"))
    rows = [Row(), Row(edit=AttentionEdit.PERMUTED, keys=KeyScope.SEGMENT, seed=2)]
    own = backend.capture(encoding, ATTENTION).attention
    moved = backend.run(variants(encoding, rows)).permuted
    assert own is not None
    assert moved is not None
    first, second = slice(1, 5), slice(6, 12)
    before, after = own.readout[0, 0, 0], moved.readout[0, 0, 0]
    assert not before.equal(after)
    for side in (first, second):
        assert before[side].sort().values.equal(after[side].sort().values)


ATTENTION = CaptureRequest(
    maps=frozenset(),
    options=MapOptions(),
    decide=lambda _: Decision(task=Task.SINGLE_LABEL, target=0),
    attention=None,
)


def test_two_such_attentions_are_none(tmp_path: Path) -> None:
    """Nobody guesses which of two explains: words alone are removed, by the two ways that a recurrent model has."""
    file = export_network(make_network(), tmp_path / "twice")
    model = onnx.load(file)
    nodes = list(model.graph.node)
    product = next(node for node in nodes if node.op_type == "MatMul" and "Unsqueeze" in node.input[0])
    at = nodes.index(product)
    softmax = next(node for node in nodes if node.op_type == "Softmax")
    again = [
        make_node("Softmax", [softmax.input[0]], ["again"], axis=1),
        make_node("Unsqueeze", ["again", "axis"], ["again.row"]),
        make_node("MatMul", ["again.row", product.input[1]], ["again.sum"]),
        make_node("Add", ["again.sum", f"{product.output[0]}.once"], [product.output[0]]),
    ]
    product.output[0] += ".once"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "axis"))
    for place, node in enumerate(again):
        model.graph.node.insert(at + 1 + place, node)
    onnx.save(model, file)
    loaded = load_model(file)
    assert (loaded.failed, loaded.scope) == ((), Scope.INPUT_ONLY)
    assert loaded.removals.usual == (RemovalOperator.MASK_TOKEN, RemovalOperator.DELETION)
    assert "nor just one over the states" in loaded.lacking[0].reason


def test_how_many_tokens_it_reads_must_be_known(tmp_path: Path) -> None:
    """A configuration of no family may leave that to its tokenizer or to who serves it, and one of them must say."""
    file = export_network(make_network(), tmp_path / "model")
    said = file.parent / "tokenizer_config.json"
    said.write_text(json.dumps({**json.loads(said.read_text()), "model_max_length": int(1e30)}))
    with pytest.raises(ModelRejected, match="nothing says how many tokens the model reads: set max_tokens"):
        load_model(file)
    assert load_model(file, declared=Declared(max_tokens=90)).backend.shape.max_tokens == 90


def test_all_weight_on_the_only_word_is_uniform(backend: OnnxBackend) -> None:
    """Whatever the tokens around it have: attention that has no choice tells nothing."""
    assert backend.capture(backend.encode(TextInput(text="film")), ATTENTION).uniform
    assert not backend.capture(backend.encode(TextInput(text="film music")), ATTENTION).uniform


def read(backend: OnnxBackend | RecurrentBackend, text: str = TEXT) -> Encoding:
    """A text as one of them reads it."""
    return backend.encode(TextInput(text=text))


def assert_same(found: BatchOutput, expected: BatchOutput) -> None:
    """Everything that two batches of the same rows gave."""
    assert (found.logits - expected.logits).abs().max() <= CLOSE
    if expected.readouts is not None:
        assert found.readouts is not None
        assert (found.readouts - expected.readouts).abs().max() <= CLOSE
    assert sorted(found.permuted_rows) == sorted(expected.permuted_rows)
    if expected.permuted is not None:
        assert found.permuted is not None
        order = [found.permuted_rows.index(number) for number in expected.permuted_rows]
        assert (found.permuted.readout[order] - expected.permuted.readout).abs().max() <= CLOSE
