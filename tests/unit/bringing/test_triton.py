"""Models of a Triton repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rollcall.bringing.triton import MOST_CONFIG_BYTES, read_triton
from rollcall.domain.errors import ModelRejected
from rollcall.domain.model import UNDECLARED, Declared, TensorNames

SEGMENT = "token_type_ids"
CONFIG = """
name: "reviews"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] },
        { name: "input_mask" data_type: TYPE_INT64 dims: [ -1 ] },
        { name: "segment_ids" data_type: TYPE_INT64 dims: [ -1 ] } ]
output [ { name: "scores" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""


@pytest.fixture
def model(exported: Path, tmp_path: Path) -> Path:
    """A model with two versions."""
    own = tmp_path / "triton" / "reviews"
    for version in ("2", "10"):
        (own / version).mkdir(parents=True)
    (own / "2" / "model.onnx").write_bytes(b"an old one")
    shutil.copy(exported, own / "10")
    (own / "config.pbtxt").write_text(CONFIG)
    (own / "labels.txt").write_text("bad\nso-so\n\ngood\n")
    return own


def test_the_newest_version_is_found_with_all_that_is_said_of_it(model: Path, original: Path) -> None:
    """Labels, and what the graph calls its tensors; the tokenizer comes from where it is said to be."""
    source = read_triton(model, described=original, declared=UNDECLARED)
    assert (source.name, source.kind) == ("reviews", "a model of a Triton repository")
    assert source.declared == Declared(
        labels=("bad", "so-so", "good"),
        tensors=TensorNames(attention_mask="input_mask", **{SEGMENT: "segment_ids"}, output="scores"),
    )
    assert {part.name for part in source.copied} == {
        "model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"
    }  # fmt: skip
    assert source.notes == ("version 10 of it was brought",)


def test_what_is_declared_goes_before(model: Path, original: Path) -> None:
    """Whoever brings it knows better than names."""
    (model / "config.pbtxt").write_text(CONFIG.replace("input_mask", "INPUT__1").replace("segment_ids", "INPUT__2"))
    said = TensorNames(attention_mask="INPUT__1", **{SEGMENT: "INPUT__2"})
    source = read_triton(model, described=original, declared=Declared(labels=("a", "b", "c"), tensors=said))
    assert source.declared.labels == ("a", "b", "c")
    assert source.declared.tensors == TensorNames(attention_mask="INPUT__1", **{SEGMENT: "INPUT__2"}, output="scores")


def test_a_tokenizer_beside_the_model_is_found(model: Path, original: Path) -> None:
    """Some keep it with the configuration, some with the version."""
    for beside in (model, model / "10"):
        for part in original.glob("*.json"):
            shutil.copy(part, beside)
        assert read_triton(model, described=None, declared=UNDECLARED).name == "reviews"
        for part in original.glob("*.json"):
            (beside / part.name).unlink()


REFUSED: dict[str, tuple[str, str, str]] = {
    "TensorRT": ("onnxruntime_onnx", "tensorrt_plan", "TensorRT engine.*ONNX file that it was built from"),
    "TorchScript": ("onnxruntime_onnx", "pytorch_libtorch", "TorchScript.*save_pretrained"),
    "an ensemble": ("onnxruntime_onnx", "ensemble", "is an ensemble. Bring the model in it"),
    "a program": ('platform: "onnxruntime_onnx"', 'backend: "python"', "is a program. Bring the model that it loads"),
    "something else": ("onnxruntime_onnx", "mystery", "is not of ONNX Runtime"),
    "nothing said": ('platform: "onnxruntime_onnx"', "", "of no platform.*is not of ONNX Runtime"),
    "an input that nobody knows": ("input_mask", "INPUT__1", "which input is 'INPUT__1'.*--tensor"),
    "an input that we have no name for": ("segment_ids", "position_ids", "which input is 'position_ids'"),
    "two masks": ("segment_ids", "other_mask", "which input is 'other_mask'"),
    "two outputs": ("output [ {", 'output [ { name: "pooled" }, {', "gives the outputs pooled, scores: say which"),
    "no output": ("output [", "outputs [", r"gives the outputs \(none\)"),
    "labels elsewhere": ("labels.txt", "../../labels.txt", "'../../labels.txt' is no file beside"),
    "a file elsewhere": ("max_batch_size: 8", 'default_model_filename: "../../m.onnx"', "is no plain name"),
    "a file that is not there": ("max_batch_size: 8", 'default_model_filename: "m.onnx"', "no file .*m.onnx"),
    "no text of the format": ("input [", "input [[", "config.pbtxt cannot be read: line 5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_brought_is_refused_with_advice(model: Path, original: Path, case: str) -> None:
    """What it is, and what to bring in its place."""
    old, new, says = REFUSED[case]
    assert old in CONFIG
    (model / "config.pbtxt").write_text(CONFIG.replace(old, new))
    with pytest.raises(ModelRejected, match=says):
        read_triton(model, described=original, declared=UNDECLARED)


def test_what_is_missing_is_named(model: Path, original: Path, tmp_path: Path) -> None:
    """A tokenizer, a version, a configuration of a sensible size, text."""
    with pytest.raises(ModelRejected, match="--tokenizer DIRECTORY"):
        read_triton(model, described=None, declared=UNDECLARED)
    (model / "labels.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelRejected, match=r"labels\.txt is no UTF-8"):
        read_triton(model, described=original, declared=UNDECLARED)
    (tmp_path / "outside").write_text("bad\n")
    (model / "labels.txt").unlink()
    (model / "labels.txt").symlink_to(tmp_path / "outside")
    with pytest.raises(ModelRejected, match="is a link that leads out of"):
        read_triton(model, described=original, declared=UNDECLARED)
    (model / "labels.txt").unlink()
    (model / "config.pbtxt").write_bytes(b"#" * (MOST_CONFIG_BYTES + 1))
    with pytest.raises(ModelRejected, match="no configuration has"):
        read_triton(model, described=original, declared=UNDECLARED)
    (model / "config.pbtxt").write_text(CONFIG)
    for version in ("2", "10"):
        shutil.rmtree(model / version)
    with pytest.raises(ModelRejected, match="holds no version"):
        read_triton(model, described=original, declared=UNDECLARED)
