"""`rollcall inspect`, as whoever brings an exported file uses it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from rollcall.__main__ import main
from tests.exports import export, hide_attention
from tests.recurrents import export_network, make_network


@pytest.fixture(scope="session")
def exported(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT, exported."""
    return export(original, tmp_path_factory.mktemp("inspected") / "model", attention="sdpa")


def test_layers_are_shown_in_their_order(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each layer by the name that the exporter gave its softmax, its heads, and the token that is read."""
    assert main(["inspect", str(exported)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "opset 17; takes input_ids, attention_mask, token_type_ids; gives logits" in shown[0]
    assert shown[1] == "3 layers of 4 heads in float32:"
    for layer, line in enumerate(shown[2:5]):
        assert line.split()[0] == str(layer)
        assert f"layer.{layer}/attention" in line
    assert shown[5] == "The classifier reads token 0, 32 numbers."
    assert "norms can be rolled out" in shown[7]


def test_attention_that_pools_is_shown_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One softmax over the states of a text: no layers, and no token that is read."""
    assert main(["inspect", str(export_network(make_network(), tmp_path / "recurrent"))]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1] == "1 layers of 1 heads in float32:"
    assert shown[3] == "The classifier reads the sum of the states under these weights, 16 numbers."
    assert "sums the states" in shown[5]


def test_json_and_the_opened_file(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The opened graph can be used by any runtime: it answers as before, and shows its weights."""
    external = Path(shutil.copytree(exported.parent, tmp_path / "external")) / exported.name
    onnx.save(onnx.load(external), external, save_as_external_data=True, location="weights.data", size_threshold=0)
    for file in (exported, external):
        out = tmp_path / f"opened-{file.parent.name}.onnx"
        assert main(["inspect", str(file), "--json", "--write", str(out)]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (len(found["softmaxes"]), found["heads"], found["readout"], found["problem"]) == (3, 4, 0, "")
        assert found["difference"] <= 1e-6
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        opened = onnxruntime.InferenceSession(out, options)
        ids = np.full((1, 7), 5)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        logits, weights = opened.run(["logits", "rollcall.weights.2"], feeds)
        assert np.abs(logits - onnxruntime.InferenceSession(file).run(["logits"], feeds)[0]).max() <= 1e-6
        assert weights.shape == (1, 4, 7, 7)


def test_what_is_not_found_is_said(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file without attention is no mistake of the command, but its exit code tells."""
    closed, out = Path(shutil.copy(exported, tmp_path / "closed.onnx")), tmp_path / "opened.onnx"
    hide_attention(closed)
    assert main(["inspect", str(closed), "--write", str(out)]) == 1
    assert "attention cannot be opened: no attention was found" in capsys.readouterr().out
    assert not out.exists()


def test_a_file_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr, and the exit code of a failure."""
    (tmp_path / "text.onnx").write_text("no graph")
    assert main(["inspect", str(tmp_path / "text.onnx")]) == 1
    assert main(["inspect", str(tmp_path / "gone.onnx")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "text.onnx cannot be loaded" in said[0]
    assert said[1].endswith("gone.onnx")
