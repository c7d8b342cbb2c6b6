"""An exported file against the stock library on the same weights: predictions, attention, and every edit of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from rollcall.backends.base import BatchOutput, CaptureRequest, variants
from rollcall.backends.onnx import parts as module
from rollcall.backends.onnx.backend import OnnxBackend
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import Encoding, TokensInput
from rollcall.domain.maps import AttentionSelection, MapOptions
from rollcall.domain.rows import AttentionEdit, QueryScope, RemovalOperator, Row
from rollcall.domain.verdicts import Scope
from rollcall.models.loading import load_model
from tests.exports import export
from tests.tiny import Tiny, Zoo
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch

CLOSE = 1e-5
"""Two runtimes in single precision, on logits of about 1."""
LENGTH = 11


def read(backend: OnnxBackend, ids: tuple[int, ...]) -> Encoding:
    """One unit per token between the first and the last one."""
    return backend.encode(TokensInput(input_ids=ids))


def subject(zoo: Zoo, backends: dict[str, OnnxBackend], family: str) -> tuple[Tiny, OnnxBackend, tuple[int, ...]]:
    """The tiny model, its exported twin, and an input of both."""
    return zoo[family], backends[family], stock.random_ids(zoo[family], LENGTH)


def test_predictions_are_the_stock_models(zoo: Zoo, backends: dict[str, OnnxBackend], family: str) -> None:
    """The exported file's answer is the model's: alone, in a batch, and beside a longer text."""
    tiny, backend, ids = subject(zoo, backends, family)
    longer = stock.random_ids(tiny, 40, seed=1)
    pad = tiny.backend._encoder.padding_token
    rows = [*variants(read(backend, ids), [Row()] * 2), *variants(read(backend, longer), [Row()])]
    expected = stock.stock_logits(tiny, tiny.sdpa, Batch.of(ids, ids, longer, pad=pad))
    assert (backend.predict(rows) - expected).abs().max() <= CLOSE
    assert (backend.predict(rows[:1]) - expected[:1]).abs().max() <= CLOSE


def test_attention_is_the_stock_models(zoo: Zoo, backends: dict[str, OnnxBackend], family: str) -> None:
    """Every layer's and head's weights, as the stock library gives them out, in the order of its layers."""
    tiny, backend, ids = subject(zoo, backends, family)
    request = CaptureRequest(
        maps=frozenset(),
        options=MapOptions(),
        decide=lambda _: Decision(task=Task.SINGLE_LABEL, target=0),
        attention=AttentionSelection(readout_only=False),
    )
    captured = backend.capture(read(backend, ids), request)
    assert captured.selected is not None
    found = np.frombuffer(captured.selected.data, dtype=np.float32).reshape(captured.selected.shape)
    reading = stock.read(tiny, Batch.of(ids))
    assert np.abs(found - reading.attention).max() <= CLOSE
    assert captured.state is not None
    assert np.abs(captured.state.numpy() - reading.states[-1, 0]).max() <= CLOSE
    assert np.abs(captured.logits.numpy() - reading.logits).max() <= CLOSE


EDITS = {
    "identity": Row(edit=AttentionEdit.IDENTITY, readout=True),
    "uniform": Row(edit=AttentionEdit.UNIFORM, readout=True),
    "uniform in one layer": Row(edit=AttentionEdit.UNIFORM, layers=(1,), readout=True),
    "permuted": Row(edit=AttentionEdit.PERMUTED, seed=3, readout=True),
    "permuted from the second layer on": Row(edit=AttentionEdit.PERMUTED, layers=(1, 2), seed=4, readout=True),
    "permuted for the read-out": Row(edit=AttentionEdit.PERMUTED, queries=QueryScope.READOUT, seed=5, readout=True),
    "knocked out": Row(edit=AttentionEdit.KNOCKED_OUT, units=np.arange(LENGTH - 2) % 3 == 0, readout=True),
    "cut": Row(edit=AttentionEdit.CUT, units=np.arange(LENGTH - 2) % 3 == 1, layers=(0, 2), readout=True),
    "silenced": Row(edit=AttentionEdit.SILENCED, heads=(0, 3), layers=(1,), readout=True),
    "biased": Row(
        edit=AttentionEdit.BIASED, bias=np.random.default_rng(0).normal(size=(3, 4, LENGTH)) * 2, readout=True
    ),
    "uniform and hidden": Row(
        edit=AttentionEdit.UNIFORM,
        removed=np.arange(LENGTH - 2) < 2,
        operator=RemovalOperator.HIDDEN_KEYS,
        readout=True,
    ),
}


def test_every_edit_is_that_of_torch(zoo: Zoo, backends: dict[str, OnnxBackend], family: str) -> None:
    """What a row does to attention does the same in both runtimes: logits, states, and maps recomputed under it."""
    tiny, backend, ids = subject(zoo, backends, family)
    rows = list(EDITS.values())
    found = backend.run(variants(read(backend, ids), rows))
    expected = tiny.backend.run(variants(tiny.backend.encode(TokensInput(input_ids=ids)), rows))
    assert_equal(found, expected)
    untouched = backend.predict(variants(read(backend, ids), [Row()]))
    changes = (found.logits - untouched).abs().amax(dim=1)
    assert changes[0] <= CLOSE
    assert changes[1:].min() > 5 * CLOSE


def test_edits_are_those_of_a_softmax_edited_by_hand(zoo: Zoo, backends: dict[str, OnnxBackend], family: str) -> None:
    """Uniform attention and a silenced head, against the stock library with its own softmax changed by hand."""
    tiny, backend, ids = subject(zoo, backends, family)
    model = tiny.stock(stock.EXPLICIT)
    rows = [EDITS["uniform in one layer"], EDITS["silenced"]]
    found = backend.run(variants(read(backend, ids), rows))

    def uniform(layer: int, weights: torch.Tensor) -> torch.Tensor:
        return torch.full_like(weights, 1 / LENGTH) if layer == 1 else weights

    def silenced(layer: int, weights: torch.Tensor) -> torch.Tensor:
        kept = torch.tensor([0.0, 1.0, 1.0, 0.0])[:, None, None]
        return weights * kept if layer == 1 else weights

    assert found.readouts is not None
    for number, edit in enumerate((uniform, silenced)):
        logits, states = stock.edited(tiny, model, Batch.of(ids), edit)
        assert (found.logits[number] - logits[0]).abs().max() <= CLOSE
        assert (found.readouts[number] - states[0]).abs().max() <= CLOSE


@pytest.mark.parametrize("operator", RemovalOperator)
def test_removals_are_those_of_torch(
    zoo: Zoo, backends: dict[str, OnnxBackend], family: str, operator: RemovalOperator
) -> None:
    """The same words removed by the same operator give the same answer in both runtimes."""
    tiny, backend, ids = subject(zoo, backends, family)
    masks = np.random.default_rng(1).random((4, LENGTH - 2)) < 0.5
    rows = [Row(removed=mask, operator=operator) for mask in masks]
    found = backend.run(variants(read(backend, ids), rows))
    assert_equal(found, tiny.backend.run(variants(tiny.backend.encode(TokensInput(input_ids=ids)), rows)))


def test_a_row_is_the_same_in_any_company(backends: dict[str, OnnxBackend], zoo: Zoo, family: str) -> None:
    """Alone, beside others, and in parts that only take a row at a time: the same bits, where the load test says so."""
    _, backend, ids = subject(zoo, backends, family)
    assert backend.batch_is_neutral
    rows = variants(read(backend, ids), [*EDITS.values(), Row(), Row(readout=True)])
    together = backend.run(rows)
    for number, row in enumerate(rows):
        assert torch.equal(backend.run([row]).logits[0], together.logits[number])


def test_long_texts_are_run_in_parts(
    backends: dict[str, OnnxBackend], zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the attention of all rows would take too much memory, some rows at a time give the same maps."""
    _, backend, ids = subject(zoo, backends, "bert")
    rows = variants(read(backend, ids), [Row(edit=AttentionEdit.PERMUTED, seed=seed) for seed in range(5)])
    whole = backend.run(rows)
    monkeypatch.setattr(module, "OBSERVED_BYTES", 2 * 3 * 4 * LENGTH**2 * 4)
    assert_equal(backend.run(rows), whole)


def test_half_precision_is_served_as_what_it_is(zoo: Zoo, tmp_path: Path) -> None:
    """A file that the runtime's own converter made half as large is read and edited in half precision."""
    file = export(zoo["bert"].directory, tmp_path / "half", attention="eager")
    onnx.save(convert_float_to_float16(onnx.load(file), keep_io_types=True), file)
    loaded = load_model(file)
    assert loaded.failed == ()
    assert loaded.backend.dtype == "float16"
    assert loaded.backend.noise >= torch.finfo(torch.float16).eps
    encoding = loaded.backend.encode(TokensInput(input_ids=stock.random_ids(zoo["bert"], LENGTH)))
    rows = variants(encoding, [EDITS["uniform"], EDITS["permuted"], EDITS["biased"], EDITS["knocked out"]])
    half, whole = loaded.backend.run(rows), zoo["bert"].backend.run(rows)
    assert (half.logits - whole.logits).abs().max() <= 5e-3
    with pytest.raises(ModelRejected, match="exported in float16: it cannot be served in bfloat16"):
        load_model(file, dtype="bfloat16")


@pytest.mark.parametrize("operator", ["Attention", "MultiHeadAttention"])
def test_fused_attention_is_written_out(zoo: Zoo, tmp_path: Path, operator: str) -> None:
    """What the runtime's own optimizer fused is edited as torch is, and hides the words that it should.

    Its mask only knows how many tokens there are: hiding a word in the middle by it would hide the last one.
    """
    file = export(zoo["bert"].directory, tmp_path / "fused", attention="eager")
    options = FusionOptions("bert")
    options.use_multi_head_attention = operator == "MultiHeadAttention"
    optimize_model(
        str(file), model_type="bert", num_heads=4, hidden_size=32, optimization_options=options
    ).save_model_to_file(str(file))
    assert sum(node.op_type == operator for node in onnx.load(file).graph.node) == 3
    loaded = load_model(file)
    assert (loaded.failed, loaded.scope) == ((), Scope.ALL_LAYERS)
    ids = stock.random_ids(zoo["bert"], LENGTH)
    masks = np.random.default_rng(2).random((3, LENGTH - 2)) < 0.5
    rows = [*EDITS.values(), *(Row(removed=mask, operator=RemovalOperator.HIDDEN_KEYS) for mask in masks)]
    found = loaded.backend.run(variants(loaded.backend.encode(TokensInput(input_ids=ids)), rows))
    torch_backend = zoo["bert"].backend
    assert_equal(found, torch_backend.run(variants(torch_backend.encode(TokensInput(input_ids=ids)), rows)))


def test_a_mask_that_only_counts_hides_nothing(zoo: Zoo, tmp_path: Path) -> None:
    """Where nothing in the graph can hide a word, there is no second way to remove one: predictions only, and why."""
    file = export(zoo["bert"].directory, tmp_path / "counting", attention="eager")
    optimize_model(str(file), model_type="bert", num_heads=4, hidden_size=32).save_model_to_file(str(file))
    model = onnx.load(file)
    for node in model.graph.node:
        if node.op_type == "Attention":  # with a layout that nobody here knows
            node.attribute.append(onnx.helper.make_attribute("qkv_hidden_sizes", [32, 32, 32]))
    onnx.save(model, file)
    loaded = load_model(file)
    assert loaded.scope is Scope.INPUT_ONLY
    assert loaded.failed == ("hidden_keys_are_hidden",)


def assert_equal(found: BatchOutput, expected: BatchOutput) -> None:
    """Everything that two batches of the same rows gave."""
    assert (found.logits - expected.logits).abs().max() <= CLOSE
    assert (found.readouts is None) == (expected.readouts is None)
    if found.readouts is not None and expected.readouts is not None:
        assert (found.readouts - expected.readouts).abs().max() <= CLOSE
    assert sorted(found.permuted_rows) == sorted(expected.permuted_rows)
    if found.permuted is None or expected.permuted is None:
        assert found.permuted is expected.permuted
        return
    order = [found.permuted_rows.index(number) for number in expected.permuted_rows]
    assert (found.permuted.readout[order] - expected.permuted.readout).abs().max() <= CLOSE
    for ours, theirs in zip(found.permuted.fused, expected.permuted.fused, strict=True):
        assert (ours[order][:, : theirs.shape[1]] - theirs).abs().max() <= CLOSE
