"""Calibrated with the command, then served: a pair's verdicts and those of a model without attention carry promises.

Both have the demonstration model's weights, and few inputs: what is tried is the way, not how good the numbers are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rollcall.__main__ import main
from rollcall.demo import model_directory
from rollcall.demo.server import server_process
from rollcall.verdict.calibration import calibration_path
from rollcall_client import Client, MapKind, Scope
from tests.exports import export, hide_attention
from tests.tiny import CORPUS

CALL_SECONDS = 120.0
WORDS = " ".join(CORPUS).split()
TEXTS = [" ".join(WORDS[i : i + 7 + i % 5]) for i in range(40)]
PAIRED = list(zip(TEXTS[:36], TEXTS[4:], strict=True))


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """Models by name, their calibrations beside them, the data of each, and a client of a server with all of them."""

    models: Mapping[str, Path]
    data: Mapping[str, Path]
    client: Client

    def file(self, name: str) -> dict[str, Any]:
        """A model's calibration."""
        found: dict[str, Any] = json.loads(calibration_path(self.models[name]).read_text())
        return found


def command(kind: str, model: Path, data: Path, *options: str) -> int:
    """Run `rollcall calibrate` or `rollcall assess`, loosely: there are few inputs."""
    return main([kind, "--model", str(model), "--data", str(data), "--inputs", "24", "--quiet", *options])


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calibrated]:
    """Calibrate both, and serve them from nothing but their paths."""
    root = tmp_path_factory.mktemp("calibrated")
    pairs = Path(shutil.copytree(model_directory(), root / "pairs"))
    closed = export(model_directory(), root / "closed").parent
    hide_attention(closed / "model.onnx")
    (root / "pairs.tsv").write_text("text\ttext_pair\n" + "\n".join("\t".join(one) for one in PAIRED))
    (root / "texts.txt").write_text("\n".join(TEXTS))
    models = {"pairs": pairs, "closed": closed}
    data = {"pairs": root / "pairs.tsv", "closed": root / "texts.txt"}
    for name, model in models.items():
        assert command("calibrate", model, data[name], "--alpha", ".4", "--task", f"film {name}") == 0
    options = [part for name, path in models.items() for part in ("--model", f"{name}={path}")]
    with server_process(*options) as server, Client(server.target, timeout=CALL_SECONDS) as client:
        yield Calibrated(models=models, data=data, client=client)


@pytest.mark.parametrize("name", ["pairs", "closed"])
def test_getmodel_and_every_verdict_carry_the_calibration(calibrated: Calibrated, name: str) -> None:
    """The server finds the file beside the model; the widths are the file's, and so is the primary map."""
    file = calibrated.file(name)
    assert file["data"]["task"] == f"film {name}"
    told = calibrated.client.model(name).calibration
    assert told is not None
    assert told.id == file["id"]
    pair = PAIRED[1][1] if name == "pairs" else None
    answer = calibrated.client.explain(PAIRED[1][0], text_pair=pair, model=name)
    assert answer.primary.map.name.lower() == file["primary_map"]
    for each in answer.attributions:
        found = each.verdict.calibration
        assert found is not None
        assert found.id == file["id"]
        assert f"film {name}" in found.statement
        assert "at most 40% of answers" in found.statement
        alignment = each.verdict.alignment
        c = file["maps"][each.map.name.lower()]["c"]
        if alignment is not None:
            assert any(alignment.width == pytest.approx(c * step) for step in (4, 3, 2, 1))


def test_a_pairs_calibration_is_about_both_texts(calibrated: Calibrated) -> None:
    """Its lengths are those of both together; each side has its verdict, of which nothing is promised."""
    file = calibrated.file("pairs")
    assert file["data"]["kind"] == "pairs of texts"
    units = [len(first.split()) + len(second.split()) for first, second in PAIRED]
    assert min(units) <= file["data"]["shortest"] <= file["data"]["longest"]
    assert file["data"]["shortest"] > max(len(text.split()) for text in TEXTS)
    answer = calibrated.client.explain(PAIRED[0][0], text_pair=PAIRED[0][1], model="pairs")
    assert [side.segment for side in answer.verdict.sides] == [0, 1]


def test_of_a_model_without_attention_the_maps_made_of_removals_are_calibrated(calibrated: Calibrated) -> None:
    """What cannot be measured there is absent; the answer has the map that the calibration chose."""
    file = calibrated.file("closed")
    assert set(file["maps"]) == {"leave_one_out", "effect"}
    assert "rewiring" not in file["measured"]
    assert {"reach", "operator_agreement", "effect_scale", "p_values"} <= set(file["measured"])
    answer = calibrated.client.explain(TEXTS[2], model="closed")
    assert {each.map.name.lower() for each in answer.attributions} == {file["primary_map"]}
    assert answer.verdict.scope is Scope.INPUT_ONLY
    both = calibrated.client.explain(TEXTS[2], model="closed", maps=[MapKind.LEAVE_ONE_OUT, MapKind.EFFECT])
    assert all(each.verdict.calibration and each.verdict.calibration.id == file["id"] for each in both.attributions)


@pytest.mark.parametrize(("name", "shown"), [("pairs", " / "), ("closed", "| leave_one_out |")])
def test_both_are_assessed_on_one_page(
    calibrated: Calibrated, name: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With their calibration's statement, and examples of both texts of a pair."""
    assert command("assess", calibrated.models[name], calibrated.data[name]) == 0
    page = capsys.readouterr().out
    assert f"May the maps of {calibrated.models[name].name} be shown?" in page
    assert f"calibration set (film {name})" in page
    assert shown in page
    assert ("Each text of a pair for itself" in page) is (name == "pairs")


@pytest.mark.parametrize("kind", ["calibrate", "assess"])
def test_inputs_of_another_kind_are_refused(
    calibrated: Calibrated, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures for a model of texts: what it reads is said, and nothing is written."""
    (tmp_path / "a.png").write_bytes(b"no picture")
    before = calibration_path(calibrated.models["pairs"]).read_bytes()
    assert command(kind, calibrated.models["pairs"], tmp_path) == 2
    assert "holds pictures; this model reads texts or pairs of texts" in capsys.readouterr().err
    assert calibration_path(calibrated.models["pairs"]).read_bytes() == before
