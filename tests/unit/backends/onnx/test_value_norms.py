"""NORM_ROLLOUT of exported files: against a numpy formula of the stock model's weights, and where it cannot be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.helper import make_node
from onnxruntime.transformers.optimizer import optimize_model

from rollcall.attribution.rollout import norm_rollout
from rollcall.backends.base import CaptureRequest
from rollcall.backends.onnx.backend import OnnxBackend
from rollcall.backends.onnx.surgery import open_attention
from rollcall.backends.torch_backend import TorchBackend
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import TokensInput
from rollcall.domain.maps import Floats, MapKind, MapOptions
from rollcall.domain.verdicts import Scope
from rollcall.models.loading import LoadedModel, load_model
from tests.exports import export
from tests.tiny import Tiny, Zoo
from tests.unit.backends import stock

CLOSE = 1e-5
LENGTH = 11
REQUEST = CaptureRequest(
    maps=frozenset({MapKind.NORM_ROLLOUT}),
    options=MapOptions(),
    decide=lambda _: Decision(task=Task.SINGLE_LABEL, target=0),
    attention=None,
)


def rollout(backend: OnnxBackend | TorchBackend, ids: tuple[int, ...]) -> Floats:
    """The read-out row [K] of the rollout of norms."""
    captured = backend.capture(backend.encode(TokensInput(input_ids=ids)), REQUEST)
    assert captured.norms is not None
    row = norm_rollout(captured.norms.unsqueeze(0), backend.readout)[0]
    return np.asarray(row.double().numpy())


def by_formula(tiny: Tiny, ids: tuple[int, ...]) -> Floats:
    """The same of the stock model, every transformed vector built."""
    return stock.norm_rollout(tiny, stock.read(tiny, stock.Batch.of(ids)))


def test_norms_are_those_of_the_formula(zoo: Zoo, backends: dict[str, OnnxBackend], family: str) -> None:
    """Exports of every family by the older exporter give what its weights give, and what torch gives."""
    tiny, backend, ids = zoo[family], backends[family], stock.random_ids(zoo[family], LENGTH)
    assert MapKind.NORM_ROLLOUT in backend.maps
    found = rollout(backend, ids)
    assert np.abs(found - by_formula(tiny, ids)).max() <= CLOSE
    assert np.abs(found - rollout(tiny.backend, ids)).max() <= CLOSE


@pytest.mark.parametrize(
    ("family", "form"),
    [
        ("bert", {"dynamo": True, "attention": "eager"}),
        ("bert", {"dynamo": True, "opset": 23}),
        ("albert", {"dynamo": True}),
        ("bert", {"opset": 11, "attention": "eager"}),
        ("mpnet", {"attention": "eager"}),
    ],
)
def test_other_forms_of_export(zoo: Zoo, tmp_path: Path, family: str, form: dict[str, object]) -> None:
    """The newer exporter, attention as one operator, layer norms in parts, and positions added to the scores."""
    loaded = load_model(export(zoo[family].directory, tmp_path / "exported", **form))  # type: ignore[arg-type] # forms
    assert_agrees(loaded, zoo[family])


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_norms_fused_with_their_sums(zoo: Zoo, tmp_path: Path, attention: str) -> None:
    """ONNX Runtime's optimizer makes one operator of bias, residual and norm."""
    file = export(zoo["bert"].directory, tmp_path / "fused", attention=attention)
    optimize_model(str(file), model_type="bert", num_heads=4, hidden_size=32).save_model_to_file(str(file))
    fused = [node for node in onnx.load(file).graph.node if node.op_type == "SkipLayerNormalization"]
    assert len(fused) == 6
    assert_agrees(load_model(file), zoo["bert"])


def assert_agrees(loaded: LoadedModel, tiny: Tiny) -> None:
    """An export says what the model's weights say."""
    backend, ids = loaded.backend, stock.random_ids(tiny, LENGTH)
    assert isinstance(backend, OnnxBackend)
    assert [test.passed for test in loaded.self_tests if test.name == "blocks_make_the_states"] == [True]
    found = rollout(backend, ids)
    assert np.abs(found - rollout(tiny.backend, ids)).max() <= CLOSE
    if tiny.family != "mpnet":  # of which there is no formula here
        assert np.abs(found - by_formula(tiny, ids)).max() <= CLOSE


def test_layers_that_share_their_weights_share_a_block(backends: dict[str, OnnxBackend]) -> None:
    """ALBERT's projection is held once, however many layers there are."""
    opened = backends["albert"]._opened
    assert opened is not None
    assert len({id(block) for block in opened.blocks}) == 1


def test_blocks_that_are_not_found_are_said_to_be_missing(zoo: Zoo, tmp_path: Path) -> None:
    """Without a norm of its own there is no such map, and everything else is as it was."""
    file = export(zoo["bert"].directory, tmp_path / "bare", attention="eager")
    _write_out_a_norm(file)
    loaded = load_model(file)
    assert (loaded.failed, loaded.scope) == ((), Scope.ALL_LAYERS)
    assert MapKind.ATTENTION_ROLLOUT in loaded.maps
    (reason,) = [missing.reason for missing in loaded.lacking if missing.kind is MapKind.NORM_ROLLOUT]
    assert "layer 1" in reason
    assert "not post-norm" in reason
    assert open_attention(ir.load(file), "logits").blocks == ()


def test_blocks_that_make_something_else_are_not_used(zoo: Zoo, tmp_path: Path) -> None:
    """What only looks like a block is found out at load: attention stays open, the map of norms is not offered."""
    file = export(zoo["bert"].directory, tmp_path / "odd", attention="eager")
    model = onnx.load(file)
    product = [node for node in model.graph.node if node.op_type == "Softmax"][1].output[0]
    context = next(node.output[0] for node in model.graph.node if product in node.input)
    turning = next(node for node in model.graph.node if node.op_type == "Transpose" and context in node.input)
    turning.attribute[0].ints[:] = [0, 2, 3, 1]  # a head's numbers no longer lie side by side
    onnx.save(model, file)
    loaded = load_model(file)
    assert (loaded.failed, loaded.scope) == ((), Scope.ALL_LAYERS)
    assert MapKind.NORM_ROLLOUT not in loaded.maps
    (reason,) = [missing.reason for missing in loaded.lacking if missing.kind is MapKind.NORM_ROLLOUT]
    assert "blocks_make_the_states" in reason


def _write_out_a_norm(file: Path) -> None:
    """Divide the first norm of the second layer by 1: the same numbers, and no norm behind the residual."""
    model = onnx.load(file)
    norm = [node for node in model.graph.node if node.op_type == "LayerNormalization"][3]
    at = list(model.graph.node).index(norm)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((), np.float32), "one"))
    model.graph.node.insert(at, make_node("Div", [norm.input[0], "one"], ["undivided"]))
    norm.input[0] = "undivided"
    onnx.save(model, file)
