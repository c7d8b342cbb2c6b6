"""Loading exported files: what is served, what is refused, and why, in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.helper import make_tensor_value_info

from rollcall.domain.errors import ModelRejected
from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import Scope
from rollcall.models.loading import LoadedModel, load_model
from tests.exports import export, hide_attention

Spoil = Callable[[Path], None]


@pytest.fixture(scope="session")
def exported(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT, exported."""
    return export(original, tmp_path_factory.mktemp("exported") / "model", attention="eager")


@pytest.fixture
def file(exported: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(exported.parent, tmp_path / "copy")) / exported.name


def test_a_file_and_its_directory_are_the_same_model(file: Path) -> None:
    """Either path serves it; the card names the runtime, what was found, and the maps that it lacks, with reasons."""
    by_file, by_directory = load_model(file), load_model(file.parent)
    assert by_file.digest == by_directory.digest
    assert by_file.failed == ()
    assert (by_file.backend.name, by_file.backend.dtype, by_file.family) == ("onnxruntime", "float32", "BERT")
    assert (by_file.backend.shape.layers, by_file.backend.shape.heads) == (3, 4)
    assert set(by_file.maps).isdisjoint(each.kind for each in by_file.lacking)
    assert set(by_file.maps) | {each.kind for each in by_file.lacking} == set(MapKind)
    assert MapKind.ATTENTION_ROLLOUT in by_file.maps
    assert next(each for each in by_file.lacking if each.kind is MapKind.GRADIENT_ROLLOUT).reason.endswith(
        "no gradients."
    )


def test_a_folder_for_exports_below_the_configuration(file: Path) -> None:
    """A repository that keeps its exports in a folder of their own is served from there."""
    below = file.parent / "onnx" / "model.onnx"
    below.parent.mkdir()
    file.rename(below)
    assert load_model(below).failed == ()


def test_weights_beside_the_file_count_in_the_digest(file: Path) -> None:
    """A file with its weights in another one is another model when those change; a calibration beside it is none."""
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="weights.data", size_threshold=0)
    first = load_model(file)
    (file.parent / "model.onnx.calibration.json").write_text("{}")
    assert load_model(file).digest == first.digest
    weights = file.parent / "weights.data"
    changed = np.fromfile(weights, np.uint8)
    changed[-1] ^= 1
    changed.tofile(weights)
    assert load_model(file).digest != first.digest


def test_safetensors_go_first(original: Path, file: Path) -> None:
    """Of a directory that holds both, torch serves what it always served; the file can still be named."""
    shutil.copy(original / "model.safetensors", file.parent)
    assert load_model(file.parent).backend.name == "torch"
    assert load_model(file).backend.name == "onnxruntime"


def _without(name: str) -> Spoil:
    return lambda file: (file.parent / name).unlink()


def _bytes(content: bytes) -> Spoil:
    def spoil(file: Path) -> None:
        file.write_bytes(content)

    return spoil


def _half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _graph(change: Callable[[onnx.ModelProto], None]) -> Spoil:
    def spoil(file: Path) -> None:
        model = onnx.load(file)
        change(model)
        onnx.save(model, file)

    return spoil


def _another_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(make_tensor_value_info("pixel_values", onnx.TensorProto.FLOAT, [1]))


def _probabilities(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "raw"
    model.graph.node.append(onnx.helper.make_node("Softmax", ["raw"], ["logits"]))


def _elsewhere(file: Path) -> None:
    outside = file.parent.parent / "weights.data"
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="weights.data", size_threshold=0)
    (file.parent / "weights.data").rename(outside)
    (file.parent / "weights.data").symlink_to(outside)


def _configured(**changes: object) -> Spoil:
    def spoil(file: Path) -> None:
        path = file.parent / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


REJECTED: dict[str, tuple[Spoil, str]] = {
    "no configuration": (_without("config.json"), "has no config.json beside it"),
    "no tokenizer": (_without("tokenizer.json"), "holds no tokenizer"),
    "an empty file": (_bytes(b""), "cannot be"),
    "half a file": (_half, "cannot be read as ONNX"),
    "text": (_bytes(b"this is no model"), "cannot be read as ONNX"),
    "an input that nobody knows": (_graph(_another_input), "takes the inputs"),
    "probabilities for logits": (_graph(_probabilities), "gives probabilities, not logits"),
    "other classes": (_configured(id2label={"0": "a", "1": "b"}), "not 2 classes"),
    "a regression": (_configured(problem_type="regression"), "regression models are not supported"),
    "more positions than it has": (_configured(max_position_embeddings=4096), "cannot read the"),
    "weights that lie elsewhere": (_elsewhere, "which is no file of its directory"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_what_cannot_be_served_is_rejected_in_words(file: Path, case: str) -> None:
    """Whoever deploys a file that cannot be served reads why, in a sentence."""
    spoil, says = REJECTED[case]
    spoil(file)
    if case == "more positions than it has":
        _tokenizer_reads(file.parent, 4096)
    with pytest.raises(ModelRejected) as rejection:
        load_model(file)
    assert says in str(rejection.value)
    assert "Traceback" not in str(rejection.value)
    assert len(str(rejection.value)) < 500


def _tokenizer_reads(directory: Path, tokens: int) -> None:
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": tokens}))


def test_a_directory_with_several_files_says_so(file: Path) -> None:
    """Nobody guesses which one is meant."""
    shutil.copy(file, file.parent / "quantized.onnx")
    with pytest.raises(ModelRejected, match=r"several \.onnx files \(model\.onnx, quantized\.onnx\): name one"):
        load_model(file.parent)


def test_attention_that_is_not_found_leaves_removals(file: Path) -> None:
    """A graph whose attention cannot be told apart is explained by removals alone, and says what it lacks and why."""
    hide_attention(file)
    loaded: LoadedModel = load_model(file)
    assert loaded.failed == ()
    assert loaded.scope is Scope.INPUT_ONLY
    test = next(test for test in loaded.self_tests if test.name == "attention_found")
    assert not test.passed
    assert "no attention was found" in test.detail
    assert loaded.maps == (MapKind.LEAVE_ONE_OUT, MapKind.EFFECT)
    assert all("no attention was found" in each.reason for each in loaded.lacking)
    assert loaded.backend.batch_is_neutral


def test_attention_that_fails_its_test_is_closed_again(file: Path) -> None:
    """A graph that ignores one of its layers' attention cannot be edited there: it is not used, and the test named."""
    model = onnx.load(file)
    for node in model.graph.node:
        if node.op_type == "Softmax":  # attention that does not sum to one is none
            node.output[0] += ".whole"
            half = onnx.helper.make_node("Mul", [node.output[0], "half"], [node.output[0].removesuffix(".whole")])
            model.graph.node.insert(list(model.graph.node).index(node) + 1, half)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    onnx.save(model, file)
    loaded = load_model(file)
    assert loaded.failed == ()
    assert loaded.scope is Scope.INPUT_ONLY
    assert "rows_sum_to_one" in loaded.lacking[0].reason
