"""Loading exported files: what is served, what is refused, and why, in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import make_tensor_value_info

from rollcall.backends.base import variants
from rollcall.domain.decision import Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import MapKind
from rollcall.domain.model import Declared, TensorNames
from rollcall.domain.rows import Row
from rollcall.domain.verdicts import Scope
from rollcall.models.loading import LoadedModel, load_model
from tests.exports import export, hide_attention
from tests.tiny import TEXT

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


def _ending_in(operator: str, **attributes: Any) -> Callable[[onnx.ModelProto], None]:  # noqa: ANN401 - of ONNX
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "raw"
        model.graph.node.append(onnx.helper.make_node(operator, ["raw"], ["logits"], **attributes))

    return change


def _renamed(model: onnx.ModelProto) -> None:
    names = {"input_ids": "INPUT__0", "attention_mask": "mask", "logits": "OUTPUT__0"}
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


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
    "probabilities over the batch": (_graph(_ending_in("Softmax", axis=0)), "that is not over classes"),
    "probabilities of another task": (_graph(_ending_in("Sigmoid")), "which is of a multi_label model"),
    "inputs that are called otherwise": (_graph(_renamed), "tensors.NAME says that one is called otherwise"),
    "other classes": (_configured(id2label={"0": "a", "1": "b"}), "not 2 classes"),
    "a billion classes": (_configured(num_labels=10**9), "num_labels is 1000000000, more than 100000"),
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


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_probabilities_are_taken_back_to_their_logits(file: Path, operator: str) -> None:
    """A production file that ends in a softmax is explained by what it makes its probabilities of, bit for bit."""
    original = load_model(file)
    _graph(_ending_in(operator))(file)
    loaded = load_model(file)
    assert loaded.failed == ()
    assert loaded.maps == original.maps
    rows = variants(original.backend.encode(TextInput(text=TEXT)), [Row()])
    assert loaded.backend.predict(rows).equal(original.backend.predict(rows))
    assert loaded.digest != original.digest


def test_a_sigmoid_is_of_a_multi_label_model(file: Path) -> None:
    """Which a configuration may not say, and an operator then does; what is said counts in the digest."""
    _graph(_ending_in("Sigmoid"))(file)
    _configured(problem_type="multi_label_classification")(file)
    by_file = load_model(file)
    _configured(problem_type=None)(file)
    by_word = load_model(file, declared=Declared(task=Task.MULTI_LABEL))
    assert by_word.backend.task is by_file.backend.task is Task.MULTI_LABEL
    assert by_word.digest != by_file.digest


def test_a_graph_may_call_its_tensors_as_it_likes(file: Path) -> None:
    """Nobody exports anew because a server wanted other names: the settings say which is which."""
    original = load_model(file)
    rows = variants(original.backend.encode(TextInput(text=TEXT)), [Row()])
    _graph(_renamed)(file)
    names = TensorNames(input_ids="INPUT__0", attention_mask="mask", output="OUTPUT__0")
    loaded = load_model(file, declared=Declared(labels=("a", "b", "c"), tensors=names))
    assert (loaded.failed, loaded.labels, loaded.maps) == ((), ("a", "b", "c"), original.maps)
    assert loaded.backend.predict(rows).equal(original.backend.predict(rows))


def test_labels_are_as_many_as_classes(file: Path) -> None:
    """A list of labels that does not fit is no list of this model's labels."""
    with pytest.raises(ModelRejected, match="2 labels are declared, and the configuration has 3 classes"):
        load_model(file, declared=Declared(labels=("a", "b")))
    with pytest.raises(ModelRejected, match="two of the declared labels are the same"):
        load_model(file, declared=Declared(labels=("a", "b", "a")))


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


def _constant_elsewhere(file: Path) -> None:
    """Keep a constant of the graph, which is no initializer, in a file that lies elsewhere."""
    model = onnx.load(file)
    constant = next(node for node in model.graph.node if node.op_type == "Constant")
    tensor = constant.attribute[0].t
    size = len(tensor.raw_data)
    (file.parent.parent / "outside").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../outside"), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    file.write_bytes(model.SerializeToString())


def test_constants_that_lie_elsewhere_are_refused(file: Path) -> None:
    """Not only initializers can lead out of the directory."""
    _constant_elsewhere(file)
    with pytest.raises(ModelRejected, match=r"leads to '\.\./outside', which is no file of its directory"):
        load_model(file)


def test_weights_that_are_shorter_than_declared_are_refused(file: Path) -> None:
    """A copy of the weights that was cut, or a graph that says that it has more than anybody has."""
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="weights.data", size_threshold=0)
    weights = file.parent / "weights.data"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelRejected, match=r"declares \d+ bytes of weights\.data, which has"):
        load_model(file)


def test_a_graph_that_declares_too_much_is_refused(file: Path) -> None:
    """Weights of a terabyte, of which there is nothing."""
    model = onnx.load(file)
    large = model.graph.initializer[0]
    large.dims[:] = [1 << 20, 1 << 20]
    onnx.save(model, file)
    with pytest.raises(ModelRejected, match="cannot be"):
        load_model(file)
