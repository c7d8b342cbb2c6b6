"""A directory of models, as operators fill it: what is there, what is not there yet, and what is wrong."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollcall.domain.inputs import Threshold
from rollcall.models.repository import bytes_of, read_repository

NO_SETTINGS = ""
NOBODY = 65_534


def put(directory: Path, name: str, text: str | None = NO_SETTINGS) -> Path:
    """Write a revision "model/revision"; without a text it has no model.toml yet."""
    own = directory / name
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    if text is not None:
        (own / "model.toml").write_text(text)
    return own


def revisions(directory: Path) -> dict[str, list[str]]:
    """Name the revisions that are there, oldest first."""
    contents = read_repository(directory)
    assert contents.mistakes == ()
    return {name: [spec.revision for spec in specs] for name, specs in contents.revisions.items()}


def test_numbers_sort_as_numbers(tmp_path: Path) -> None:
    """10 is newer than 9, and 2026-11-02 newer than 2026-9-30; each model has its own revisions."""
    for name in ("reviews/9", "reviews/10", "reviews/1", "fraud/2026-9-30", "fraud/2026-11-02"):
        put(tmp_path, name)
    assert revisions(tmp_path) == {"reviews": ["1", "9", "10"], "fraud": ["2026-9-30", "2026-11-02"]}
    newest = {spec.name: spec for spec in read_repository(tmp_path).newest}
    assert newest["reviews"].key == "reviews@10"
    assert newest["reviews"].path == (tmp_path / "reviews" / "10").resolve()


def test_a_revision_is_there_once_its_settings_are(tmp_path: Path) -> None:
    """A copy in progress, hidden directories and plain files are nothing, and no mistake."""
    put(tmp_path, "reviews/1")
    put(tmp_path, "reviews/2", None)
    put(tmp_path, "reviews/.3")
    put(tmp_path, ".trash/1")
    put(tmp_path, "coming/1", None)
    (tmp_path / "README").write_text("models")
    assert revisions(tmp_path) == {"reviews": ["1"]}


def test_settings_of_a_revision_are_those_of_a_model(tmp_path: Path) -> None:
    """All that [models.NAME] may say, with paths from where the file lies."""
    own = put(
        tmp_path,
        "fraud/1",
        'dtype = "bfloat16"\ncalibration = "c.json"\n[threshold]\nlabel = "fraud"\nprobability = 0.93\n',
    )
    (own / "c.json").write_text("{}")
    (spec,) = read_repository(tmp_path).newest
    assert (spec.dtype, spec.calibration, spec.threshold) == (
        "bfloat16",
        own / "c.json",
        Threshold(label="fraud", probability=0.93),
    )
    assert read_repository(tmp_path).find("fraud", "1") == spec
    assert read_repository(tmp_path).find("fraud", "2") is None
    assert read_repository(tmp_path).find("other") is None


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("dtype = ", "model.toml", "not valid TOML"),
        ('dtype = "int4"', "model.toml: dtype", "expected"),
        ("drype = 1", "model.toml: drype", "did you mean"),
        ('path = "/etc"', "model.toml: path", "the directory's place says it"),
        ('revision = "2"', "model.toml: revision", "the directory's place says it"),
        ('calibration = "none.json"', "model.toml: calibration", "no file"),
        ('[threshold]\nlabel = "x"', "threshold.probability", "is missing"),
        pytest.param("labels = " + "[" * 20_000, "model.toml", "is nested too deeply", id="deep"),
        pytest.param("a" + ".a" * 2_000 + " = 1", "model.toml", "is nested too deeply", id="deep keys"),
        pytest.param("max_units = " + "9" * 5_000, "model.toml", "not valid TOML", id="more digits than are read"),
        pytest.param("max_units = 0x" + "f" * 5_000, "model.toml: max_units", "got a huge int", id="more than written"),
        pytest.param(
            "[threshold]\nlabel = 'a'\nprobability = 1" + "0" * 400,
            "threshold.probability",
            "expected a probability",
            id="more than any float",
        ),
    ],
)
def test_a_mistake_costs_its_revision_alone(tmp_path: Path, text: str, place: str, problem: str) -> None:
    """It is said where and what, and the others are there."""
    put(tmp_path, "fraud/1")
    put(tmp_path, "fraud/2", text)
    contents = read_repository(tmp_path)
    assert [spec.revision for spec in contents.revisions["fraud"]] == ["1"]
    (mistake,) = contents.mistakes
    assert place in mistake.place
    assert problem in mistake.problem


@contextmanager
def closed(directory: Path) -> Iterator[None]:
    """A directory that whoever reads within this block may not open; who is root becomes nobody for it."""
    directory.chmod(0)
    try:
        if os.geteuid() == 0:
            os.seteuid(NOBODY)
        yield
    finally:
        os.seteuid(os.getuid())
        directory.chmod(0o755)


@pytest.mark.parametrize("what", ["fraud/2", "other"])
def test_what_somebody_else_keeps_to_himself_costs_itself_alone(what: str) -> None:
    """A revision, or a model, that the server's user may not open."""
    with tempfile.TemporaryDirectory() as name:  # not below tmp_path, which is its owner's alone
        repository = Path(name)
        repository.chmod(0o755)
        for place in ("fraud/1", "fraud/2", "other/1"):
            put(repository, place)
        with closed(repository / what):
            contents = read_repository(repository)
        assert contents.find("fraud", "1") is not None
        assert sum(len(specs) for specs in contents.revisions.values()) == 2
        assert [str(mistake) for mistake in contents.mistakes] == [
            f"{repository / what}: cannot be read: Permission denied"
        ]


def test_links_that_lead_in_a_circle_cost_their_revision_alone(tmp_path: Path) -> None:
    """They lead nowhere."""
    put(tmp_path, "fraud/1")
    (put(tmp_path, "fraud/2") / "circle").symlink_to("circle")
    contents = read_repository(tmp_path)
    assert [spec.revision for spec in contents.revisions["fraud"]] == ["1"]
    (mistake,) = contents.mistakes
    assert "fraud/2: cannot be read: Symlink loop" in str(mistake)


def test_a_digit_that_is_no_number_is_a_name_like_any_other(tmp_path: Path) -> None:
    """Superscripts are digits to Python, and no numbers."""
    put(tmp_path, "fraud/1")
    put(tmp_path, "fraud/²")
    contents = read_repository(tmp_path)
    assert [spec.revision for spec in contents.revisions["fraud"]] == ["1"]
    assert [mistake.problem for mistake in contents.mistakes] == ["is no name of a revision"]


def test_names_that_cannot_be_asked_for_are_mistakes(tmp_path: Path) -> None:
    """A name goes into requests, metrics and records."""
    put(tmp_path, "my model/1")
    put(tmp_path, "fraud/v 1")
    contents = read_repository(tmp_path)
    assert contents.revisions == {}
    assert [mistake.problem for mistake in contents.mistakes] == ["is no name of a revision", "is no name of a model"]


@pytest.mark.parametrize("what", ["revision", "file"])
def test_what_leads_out_of_the_repository_is_refused(tmp_path: Path, what: str) -> None:
    """A link to somebody else's files is not followed; one within the repository is a way to share them."""
    outside = tmp_path / "outside"
    put(outside, "1")
    repository = tmp_path / "models"
    put(repository, "fraud/1")
    if what == "revision":
        (repository / "fraud" / "2").symlink_to(outside / "1")
    else:
        (put(repository, "fraud/2") / "model.safetensors").symlink_to(outside / "1" / "config.json")
    (put(repository, "fraud/3") / "shared.json").symlink_to(repository / "fraud" / "1" / "config.json")
    contents = read_repository(repository)
    assert [spec.revision for spec in contents.revisions["fraud"]] == ["1", "3"]
    (mistake,) = contents.mistakes
    assert "leads out of" in mistake.problem


def test_bytes_are_those_of_all_files(tmp_path: Path) -> None:
    """Also of files in directories below."""
    own = put(tmp_path, "fraud/1", "# 9 bytes")
    (own / "onnx").mkdir()
    (own / "onnx" / "model.onnx").write_bytes(b"12345")
    assert bytes_of(own) == len("{}") + len("# 9 bytes") + 5


def test_bytes_of_an_exported_file_are_its_own_and_its_weights(tmp_path: Path) -> None:
    """Under the names that torch and others give them; another export beside it is another model."""
    sizes = {"m[1].onnx": 2, "m[1].onnx.data": 30, "m[1].onnx_data": 400, "m1.onnx": 5_000, "other.onnx": 60_000}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    assert bytes_of(tmp_path / "m[1].onnx") == 432
    assert bytes_of(tmp_path / "other.onnx") == 60_000
    assert bytes_of(tmp_path / "gone.onnx") == 0
