"""`rollcall calibrate` as its users run it, on the packaged model: its file, going on after a stop, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rollcall.__main__ import main
from rollcall.demo import model_directory
from rollcall.domain.errors import ModelRejected
from rollcall.loader import make_entry
from rollcall.models.loading import LoadedModel, load_model
from rollcall.pipeline.catalog import Entry as ServedModel
from rollcall.settings import Entry, Sources, load_settings
from rollcall.studies.journal import Journal
from rollcall.verdict.calibration import calibration_path
from tests.tiny import CORPUS, make_model

WORDS = " ".join(CORPUS).split()
TEXTS = [" ".join(WORDS[i : i + 3 + i % 5]) for i in range(36)]


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's directory, its calibration beside it; `data.txt` holds the texts."""
    directory = tmp_path_factory.mktemp("calibrated")
    shutil.copytree(model_directory(), directory / "model")
    (directory / "data.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    assert run(directory) in {0, 1}
    return directory / "model"


def run(directory: Path, *options: str) -> int:
    """Calibrate the model of a directory on its texts, loosely: there are few of them."""
    usual = ("--inputs", "24", "--alpha", ".4", "--quiet", "--task", "film words")
    model, data = str(directory / "model"), str(directory / "data.txt")
    return main(["calibrate", "--model", model, "--data", data, *usual, *options])


def served(directory: Path, model: LoadedModel) -> ServedModel:
    """How a server that was told nothing but the directory serves it."""
    where = Entry(place="test", key=("models", "m", "path"), value=directory)
    settings = load_settings(Sources(config=None, environ={}, overrides=(where,)))
    return make_entry(settings.models[0], model, settings.limits)


def test_the_file_lies_beside_the_model_and_the_server_finds_it(calibrated: Path) -> None:
    """Serving the directory is enough: every verdict then carries the promise."""
    file = json.loads(calibration_path(calibrated).read_text())
    model = load_model(calibrated)
    entry = served(calibrated, model)
    assert entry.calibration is not None
    assert entry.calibration.id == file["id"]
    assert entry.card.calibration.created is not None
    assert file["model"]["digest"] == model.digest
    assert file["data"]["task"] == "film words"
    assert set(file["maps"]) == {"raw_attention", "attention_rollout", "norm_rollout", "gradient_rollout"}
    assert file["data"]["with_reach"] == 24


def test_a_stopped_run_goes_on_and_gives_the_same(
    calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured is not measured again; widths, rates and facts are those of one run."""
    work = calibration_path(calibrated).with_name("model.calibration.work")
    (journal,) = work.iterdir()
    lines = journal.read_bytes().splitlines(keepends=True)
    again = tmp_path / "work"
    again.mkdir()
    (again / journal.name).write_bytes(b"".join(lines[:11]) + lines[11][:40])
    assert run(calibrated.parent, "--work", str(again), "--out", str(tmp_path / "file.json"), "--json") in {0, 1}
    told = json.loads(capsys.readouterr().out)
    first = json.loads(calibration_path(calibrated).read_text())
    for name in ("maps", "recommended", "measured", "data", "primary_map"):
        assert told[name] == first[name]
    assert json.loads((tmp_path / "file.json").read_text()) == told


def test_a_journal_of_another_model_is_refused(
    calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is mixed, and the file that was there stays."""
    work = calibration_path(calibrated).with_name("model.calibration.work")
    (journal,) = work.iterdir()
    with Journal(tmp_path / journal.name, {"model": "sha256:other"}):
        pass
    before = calibration_path(calibrated).read_bytes()
    assert run(calibrated.parent, "--work", str(tmp_path)) == 2
    assert "of other work" in capsys.readouterr().err
    assert calibration_path(calibrated).read_bytes() == before


def test_words_are_assessed_by_their_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line's own word is asked about; one that the text lacks is left out; a file without a column is refused."""
    model, data = make_model("bert", tmp_path / "model", words=True), tmp_path / "data.tsv"
    lines = [f"the film is dull\t{number}" for number in (0, 3, 9)]
    data.write_text("\n".join(["text\tword_index", *lines]), encoding="utf-8")
    assert main(["assess", "--model", str(model), "--data", str(data), "--quiet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["inputs"] == 2
    assert main(["assess", "--model", str(model), "--data", str(data), "--quiet"]) == 0
    assert "[word 9]" not in capsys.readouterr().out
    data.write_text("text\nthe film is dull\n", encoding="utf-8")
    assert main(["assess", "--model", str(model), "--data", str(data), "--quiet"]) == 2
    assert "a column word_index or word_character" in capsys.readouterr().err


def test_a_calibration_of_other_weights_keeps_the_server_from_serving(calibrated: Path, tmp_path: Path) -> None:
    """A model that was exchanged under its calibration has lost its promise; the operator hears of it at once."""
    make_model("bert", tmp_path / "model", classes=2, seed=1)
    shutil.copy(calibration_path(calibrated), tmp_path / "model.calibration.json")
    model = load_model(tmp_path / "model")
    with pytest.raises(ModelRejected, match="made for other weights"):
        served(tmp_path / "model", model)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--data", "nowhere.txt"), "nowhere.txt: No such file"),
        (("--model", "nowhere"), "no directory or .onnx file nowhere"),
        (("--maps", "nice"), "no map 'nice'; there are raw_attention"),
        (("--inputs", "2"), "too few to promise"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    calibrated: Path, tmp_path: Path, options: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr, an exit code that is not 0."""
    out = tmp_path / "file.json"
    assert run(calibrated.parent, "--work", str(tmp_path / "work"), "--out", str(out), *options) in {1, 2}
    assert says in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("value", ["0", "1", "5", "-1"])
def test_a_share_is_between_none_and_all(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """5 is not 5 %."""
    with pytest.raises(SystemExit):
        main(["calibrate", "--model", "m", "--data", "d.txt", "--alpha", value])
    assert "between 0 and 1" in capsys.readouterr().err


def test_the_page_says_what_the_file_says(calibrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for every map, the primary one marked, and a warning that these were too few inputs."""
    capsys.readouterr()
    run(calibrated.parent)
    page = capsys.readouterr().out
    file = json.loads(calibration_path(calibrated).read_text())
    assert f"{file['primary_map']} *" in page
    assert "FEWER THAN 200" in page
    for name, entry in file["maps"].items():
        row = next(line for line in page.splitlines() if line.startswith(name))
        assert ("FAILED" if entry["c"] is None else f"{entry['c']:.3f}") in row
