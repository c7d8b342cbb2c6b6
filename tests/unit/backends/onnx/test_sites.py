"""Finding attention in graphs that others exported, and opening it without changing what they answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from rollcall.backends.onnx.sites import find_read_out, find_sites
from rollcall.backends.onnx.surgery import (
    EDITED,
    STATE,
    NotOpenedError,
    bias_name,
    keep_name,
    map_name,
    open_attention,
    shift_name,
    weights_name,
)
from tests.exports import export
from tests.tiny import Zoo

LAYERS = 3
DYNAMO = (("eager", 18), ("sdpa", 18), ("sdpa", 23))
"""Attention and opset of exports by torch's newer exporter; from opset 23 on attention is one operator."""


def inputs(file: Path, rows: int = 3, length: int = 11) -> dict[str, np.ndarray]:
    """Ids for a file, the second row padded."""
    ids = np.random.default_rng(0).integers(5, 50, size=(rows, length))
    mask = np.ones_like(ids)
    mask[1, 7:] = 0
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {port.name: given[port.name] for port in onnxruntime.InferenceSession(file).get_inputs()}


def opened(file: Path) -> onnxruntime.InferenceSession:
    """The file with its attention open, as a session of its own."""
    model = ir.load(file)
    open_attention(model, "logits")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(file.parent))
    return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)


def test_every_layer_is_found_and_nothing_else(files: dict[str, Path], family: str) -> None:
    """As many sites as layers, each with all tokens' weights, and the token that the classifier reads."""
    graph = ir.load(files[family]).graph
    sites = find_sites(graph)
    assert len(sites) == LAYERS
    read_out = find_read_out(graph, graph.outputs[0], sites)
    assert read_out is not None
    assert read_out.position == 0


def test_a_caller_who_knows_nothing_of_it_gets_the_original(files: dict[str, Path], family: str) -> None:
    """Without any new input the opened graph answers what the file answers; with neutral ones, the same bits."""
    session, feeds = opened(files[family]), inputs(files[family])
    original = onnxruntime.InferenceSession(files[family]).run(["logits"], feeds)[0]
    plain = session.run(["logits"], feeds)[0]
    assert np.abs(plain - original).max() <= 1e-6
    neutral = {EDITED: np.array(True)}  # noqa: FBT003 - numpy's own
    for layer in range(LAYERS):
        zero = np.zeros((1, 1, 1, 1), dtype=np.float32)
        neutral |= {bias_name(layer): zero, shift_name(layer): zero.astype(np.int64)}
        neutral |= {keep_name(layer): zero + 1, map_name(layer): zero}
    assert np.array_equal(session.run(["logits"], feeds | neutral)[0], plain)


def test_a_blend_is_a_mean_of_two_maps(bert_file: Path) -> None:
    """Half of the own weights and half of others: what the layer then uses is just that."""
    session, feeds = opened(bert_file), inputs(bert_file)
    own = session.run([weights_name(0)], feeds)[0]
    other = np.random.default_rng(1).dirichlet(np.ones(own.shape[-1]), size=own.shape[:-1]).astype(np.float32)
    edit = {EDITED: np.array(True), keep_name(0): np.full((1, 1, 1, 1), 0.5, np.float32), map_name(0): other / 2}  # noqa: FBT003 - numpy's own
    used, logits = session.run([weights_name(0), "logits"], feeds | edit)
    assert np.abs(used - (own + other) / 2).max() <= 1e-7
    assert np.abs(logits - session.run(["logits"], feeds)[0]).max() > 1e-5


@pytest.mark.parametrize(("attention", "opset"), DYNAMO)
def test_exports_by_the_newer_exporter(zoo: Zoo, tmp_path: Path, attention: str, opset: int) -> None:
    """Attention taken apart, guarded against NaN, or one operator: found, opened, and the same answer."""
    file = export(zoo["bert"].directory, tmp_path / "dynamo", attention=attention, dynamo=True, opset=opset)
    session, feeds = opened(file), inputs(file)
    original = onnxruntime.InferenceSession(file).run(["logits"], feeds)[0]
    logits, state, *weights = session.run(["logits", STATE, *(weights_name(layer) for layer in range(LAYERS))], feeds)
    assert np.abs(logits - original).max() <= 1e-6
    assert state.shape == (3, 32)
    for each in weights:
        assert np.abs(each.sum(axis=-1) - 1).max() <= 1e-6
        assert each[1, :, :, 7:].max() == 0


@pytest.mark.parametrize("opset", [11, 14])
def test_older_opsets_have_the_same_attention(zoo: Zoo, tmp_path: Path, opset: int) -> None:
    """Layer norms in parts, as older exports and those of optimum have them, are no matter to attention."""
    file = export(zoo["bert"].directory, tmp_path / "older", attention="eager", opset=opset)
    session, feeds = opened(file), inputs(file)
    original = onnxruntime.InferenceSession(file).run(["logits"], feeds)[0]
    logits, *weights = session.run(["logits", *(weights_name(layer) for layer in range(LAYERS))], feeds)
    assert np.abs(logits - original).max() <= 1e-6
    assert all(np.abs(each.sum(axis=-1) - 1).max() <= 1e-6 for each in weights)


def test_a_classifier_without_attention_is_said_to_have_none(tmp_path: Path) -> None:
    """A softmax that gives probabilities is no attention; the reason is in words."""
    nodes = [make_node("Gemm", ["input_ids", "weight"], ["scores"]), make_node("Softmax", ["scores"], ["logits"])]
    with pytest.raises(NotOpenedError, match="no attention was found"):
        open_attention(small_graph(nodes, tmp_path), "logits")


def test_an_old_graph_is_said_to_be_old(tmp_path: Path) -> None:
    """What surgery needs did not exist then."""
    with pytest.raises(NotOpenedError, match="opset 9 is older than 11"):
        open_attention(small_graph([make_node("Identity", ["input_ids"], ["logits"])], tmp_path, opset=9), "logits")


def small_graph(nodes: list[onnx.NodeProto], folder: Path, opset: int = 17) -> ir.Model:
    """A graph of a few nodes, written and read again."""
    weight = onnx.numpy_helper.from_array(np.ones((4, 2), np.float32), "weight")
    ports = [make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 4]) for name in ("input_ids", "logits")]
    graph = make_graph(nodes, "small", ports[:1], ports[1:], [weight])
    file = folder / "small.onnx"
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", opset)]), file)
    return ir.load(file)
