"""Sources become revisions, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import torch
from safetensors.torch import load_file

from rollcall.__main__ import main
from rollcall.bringing import placing
from rollcall.bringing.importing import Imported, Wanted, bring, find
from rollcall.bringing.parts import Part, Source
from rollcall.bringing.placing import RECORD
from rollcall.bringing.staging import PREFIX
from rollcall.domain.errors import ModelRejected
from rollcall.domain.model import UNDECLARED, Declared, TensorNames
from rollcall.models.loading import directory_digest
from rollcall.models.repository import read_repository
from tests.decoders import make_decoder, tokens_of
from tests.exports import export
from tests.pictures import make_vision_model
from tests.unit.bringing.conftest import PICKLED, WEIGHTS


def brought(path: Path, repository: Path, **options: object) -> Imported:
    """Bring a source, silently."""
    said: dict[str, object] = {"declared": UNDECLARED, "tested": False} | options
    return bring(Wanted(path=str(path), repository=repository, **said), lambda _: lambda _: None)  # type: ignore[arg-type]


def left(repository: Path) -> list[str]:
    """Everything that is in a repository."""
    return sorted(str(path.relative_to(repository)) for path in repository.rglob("*"))


def test_a_pickle_becomes_the_model_that_it_was(checkpoint: Path, original: Path, tmp_path: Path) -> None:
    """The same weights, and so the same digest as the safetensors that they once came from; code stays behind."""
    found = brought(checkpoint, tmp_path / "models", tested=True)
    assert (found.name, found.revision, found.serves) == ("reviews", "1", "calibration NONE")
    assert found.digest == directory_digest(original) == directory_digest(found.path)
    assert left(found.path) == sorted(
        ["config.json", RECORD, WEIGHTS, "model.toml", "tokenizer.json", "tokenizer_config.json"]
    )
    (rewritten,) = [file for file in found.files if file.sha256 != file.origin_sha256]
    assert (rewritten.name, rewritten.origin) == (WEIGHTS, PICKLED)
    record = (found.path / RECORD).read_text()
    assert rewritten.sha256 in record
    assert rewritten.origin_sha256 in record
    (spec,) = read_repository(tmp_path / "models").newest
    assert spec.key == "reviews@1"


def test_what_is_declared_is_in_the_settings(checkpoint: Path, tmp_path: Path) -> None:
    """And the server reads it there; the next one is the next revision."""
    said = Declared(labels=('"a"', "b\n", "ü", "\x7f", "😀"))
    brought(checkpoint, tmp_path / "models", declared=said, others={"dtype": "bfloat16", "tokens": None})
    assert brought(checkpoint, tmp_path / "models").revision == "2"
    old, new = read_repository(tmp_path / "models").revisions["reviews"]
    assert (old.declared, old.dtype) == (said, "bfloat16")
    assert (new.declared, new.dtype) == (UNDECLARED, "float32")


def test_what_is_no_text_is_refused_by_its_name(checkpoint: Path, tmp_path: Path) -> None:
    """JSON and command lines may hold halves of characters, which no file does."""
    for said, key in (
        ({"declared": Declared(labels=("a", "\ud800"))}, "labels"),
        ({"declared": Declared(tensors=TensorNames(output="\ud800"))}, "output"),
        ({"others": {"tokens": ["\udcff"]}}, "tokens"),
    ):
        with pytest.raises(ModelRejected, match=rf"{key} holds half a character \('\\ud"):
            brought(checkpoint, tmp_path / "models", **said)
    assert left(tmp_path / "models") == []


def test_weights_in_several_files_stay_in_several(checkpoint: Path, original: Path, tmp_path: Path) -> None:
    """With an index that leads to the rewritten ones, which is loaded."""
    weights = torch.load(checkpoint / PICKLED, weights_only=True)
    (checkpoint / PICKLED).unlink()
    shards = {name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, name in enumerate(weights)}
    for shard in set(shards.values()):
        torch.save({name: weights[name] for name in weights if shards[name] == shard}, checkpoint / shard)
    (checkpoint / f"{PICKLED}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    found = brought(checkpoint, tmp_path / "models", tested=True)
    again = {k: v for shard in found.path.glob("*.safetensors") for k, v in load_file(shard).items()}
    assert all(again[name].equal(tensor) for name, tensor in load_file(original / WEIGHTS).items())
    for hostile in ("../outside.bin", "/etc/passwd", 7, "gone.bin"):
        shards[next(iter(shards))] = hostile  # type: ignore[assignment]
        (checkpoint / f"{PICKLED}.index.json").write_text(json.dumps({"weight_map": shards}))
        with pytest.raises(ModelRejected, match=r"which is no \.bin file of its directory"):
            find(checkpoint, None, UNDECLARED)


def test_safetensors_go_first(checkpoint: Path, original: Path) -> None:
    """Of a directory with both the pickle is not even opened, and whoever brings it is told."""
    shutil.copy(original / WEIGHTS, checkpoint)
    (checkpoint / PICKLED).write_bytes(b"anything")
    source = find(checkpoint, None, UNDECLARED)
    assert source.pickled == ()
    assert "was left behind" in source.notes[0]


def test_a_cache_of_the_hub_is_followed(checkpoint: Path, tmp_path: Path) -> None:
    """There every file is a link to one named by its content; what comes of it has no links."""
    hub = tmp_path / "models--somebody--reviews-bert"
    snapshot = hub / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (hub / "blobs").mkdir()
    for number, path in enumerate(sorted(checkpoint.iterdir())):
        shutil.copy(path, hub / "blobs" / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    found = brought(snapshot, tmp_path / "models")
    assert found.name == "reviews-bert"
    assert not any(path.is_symlink() for path in found.path.iterdir())


@pytest.mark.parametrize("target", ["file", "directory"])
def test_links_out_of_the_source_are_refused(checkpoint: Path, tmp_path: Path, target: str) -> None:
    """A source does not say which files of this machine become part of a model."""
    outside = tmp_path / "outside" / "vocab.txt"
    outside.parent.mkdir()
    outside.write_text("secret\n")
    if target == "file":
        (checkpoint / "vocab.txt").symlink_to(outside)
    else:
        (checkpoint / "linked").symlink_to(outside.parent)
        (checkpoint / "vocab.txt").symlink_to("linked/vocab.txt")
    with pytest.raises(ModelRejected, match=r"vocab\.txt is a link that leads out of"):
        brought(checkpoint, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_an_export_is_brought_with_its_weights(original: Path, tmp_path: Path) -> None:
    """Weights that lie beside it, and a tokenizer that lies elsewhere."""
    file = export(original, tmp_path / "exported", dynamo=True)
    for described in file.parent.glob("*.json"):
        described.unlink()
    assert sorted(path.name for path in file.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    with pytest.raises(ModelRejected, match="--tokenizer DIRECTORY"):
        brought(file, tmp_path / "models")
    found = brought(file, tmp_path / "models", described=original, tested=True)
    assert (found.name, found.kind) == ("exported", "an ONNX file")
    assert {"model.onnx", "model.onnx.data", "tokenizer.json"} <= set(left(found.path))
    (file.parent / "model.onnx.data").write_bytes(b"x")
    with pytest.raises(ModelRejected, match=r"declares \d+ bytes of model\.onnx\.data, which has 1"):
        brought(file, tmp_path / "models", described=original)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model.pt", "TorchScript.*save_pretrained"),
        ("model.plan", "TensorRT engine.*ONNX file"),
        ("model.engine", "TensorRT engine.*ONNX file"),
        ("model.pkl", "pickle, which may hold code"),
        ("tf_model.h5", "TensorFlow"),
        ("flax_model.msgpack", "Flax"),
        ("adapter_model.safetensors", "adapter.*merge_and_unload"),
        ("weights.xyz", "no directory, .onnx or .mar file"),
    ],
)
def test_what_cannot_be_brought_comes_with_advice(checkpoint: Path, tmp_path: Path, name: str, says: str) -> None:
    """As a file, and where a directory holds nothing else."""
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelRejected, match=says):
        brought(tmp_path / name, tmp_path / "models")
    (checkpoint / PICKLED).rename(checkpoint / name)
    with pytest.raises(ModelRejected, match=says if name != "weights.xyz" else "holds no model.safetensors"):
        brought(checkpoint, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def broken_read(part: Part) -> Part:
    """A file whose disk fails half-way."""

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with part.open() as file:
            file.read(10)
            message = "the disk is gone"
            raise OSError(message)
        yield file

    return Part(name=part.name, size=part.size, open=opened)


@pytest.mark.parametrize("there", [True, False])
def test_a_failure_leaves_nothing(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    there: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A disk that fails, weights that are none, a model that does not load, no room, an interruption."""
    models = tmp_path / "models"
    before = []
    if there:
        brought(checkpoint, models)
        before = left(models)
    monkeypatch.setattr(placing, "rewrite", _raising(OSError("no space left on device")))
    with pytest.raises(OSError, match="no space"):
        brought(checkpoint, models)
    monkeypatch.setattr(placing, "rewrite", _raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        brought(checkpoint, models)
    monkeypatch.undo()
    monkeypatch.setattr(placing, "SLACK_BYTES", 1 << 62)
    with pytest.raises(ModelRejected, match="has room for"):
        brought(checkpoint, models)
    monkeypatch.undo()
    (checkpoint / "tokenizer.json").write_text("{")
    with pytest.raises(ModelRejected, match="it cannot be served: reviews cannot be loaded"):
        brought(checkpoint, models, tested=True)
    content = (checkpoint / PICKLED).read_bytes()
    (checkpoint / PICKLED).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelRejected, match="is damaged"):
        brought(checkpoint, models)
    assert left(models) == before


def _raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_file_that_fails_half_way_is_no_revision(checkpoint: Path, tmp_path: Path) -> None:
    """What was copied before it is gone, too."""
    source = find(checkpoint, None, UNDECLARED)
    failing = Source(kind="", name="reviews", copied=(*source.copied[:2], broken_read(source.copied[2])))
    place = placing.Place(repository=tmp_path / "models", name="reviews", revision="1")
    with pytest.raises(OSError, match="the disk is gone"), place.staging(0) as staged:
        placing.write(failing, place, staged, "")
    assert left(tmp_path / "models") == []


def test_a_revision_never_changes(checkpoint: Path, tmp_path: Path) -> None:
    """What is there stays, also if it came while another was being brought."""
    found = brought(checkpoint, tmp_path / "models", revision="a")
    before = left(tmp_path / "models")
    with pytest.raises(ModelRejected, match="is there already"):
        brought(checkpoint, tmp_path / "models", revision="a")
    place = placing.Place(repository=tmp_path / "models", name="reviews", revision="b")

    def race() -> None:
        with place.staging(0) as staged:
            (staged / "model.toml").write_text("")
            shutil.copytree(found.path, place.path)

    with pytest.raises(ModelRejected, match="is there already"):
        race()
    shutil.rmtree(place.path)
    assert left(tmp_path / "models") == before


def test_a_killed_import_is_not_there(checkpoint: Path, tmp_path: Path) -> None:
    """Whatever was written by then is nothing that a server would look at."""
    repository = tmp_path / "models"
    os.mkfifo(checkpoint / "z.model")  # no regular file, and so no part of it: whoever opened it would wait
    large = {f"w{i}": torch.zeros(1 << 20) for i in range(64)}
    torch.save(large, checkpoint / PICKLED)
    command = [sys.executable, "-m", "rollcall", "models", "import", str(checkpoint), "--repository", str(repository)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(repository.glob(f"reviews/{PREFIX}1.*/*")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(repository.glob(f"reviews/{PREFIX}1.*"))
    contents = read_repository(repository)
    assert (contents.revisions, contents.mistakes) == ({}, ())


def test_the_command_says_what_came_of_it(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words, as JSON, and by its exit code; a mistake in an option is another one."""
    where = ["--repository", str(tmp_path / "models")]
    assert main(["models", "import", str(checkpoint), *where, "--no-test", "--labels", "a,b,c"]) == 0
    said = capsys.readouterr().out
    assert "reviews 1, from a Hugging Face directory" in said
    assert "rewritten from pytorch_model.bin" in said
    assert "not tested" in said
    assert main(["models", "import", str(checkpoint), *where, "--json", "--name", "other", "--revision", "7"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["revision"], found["serves"]) == ("other", "7", "calibration NONE")
    assert found["digest"].startswith("sha256:")
    assert main(["models", "import", str(checkpoint), *where, "--name", "other", "--revision", "7"]) == 1
    assert capsys.readouterr().err.startswith("rollcall: ")
    for wrong in (["--name", "../x"], ["--revision", "a/b"], ["--tensor", "x=y"], ["--task", "regression"]):
        with pytest.raises(SystemExit) as exit_code:
            main(["models", "import", str(checkpoint), *where, *wrong])
        assert exit_code.value.code == 2


def test_language_models_and_image_models_are_brought_too(tmp_path: Path) -> None:
    """The one with the tokens that it is asked about, the other with its preprocessing; both are proved."""
    llama = make_decoder("llama", tmp_path / "llama")
    with pytest.raises(ModelRejected, match="a language model needs its tokens"):
        brought(llama, tmp_path / "models", tested=True)
    tokens = list(tokens_of("llama"))
    assert brought(llama, tmp_path / "models", tested=True, others={"tokens": tokens}).serves == "calibration NONE"
    vit = make_vision_model("vit", tmp_path / "vit")
    assert "preprocessor_config.json" in left(brought(vit, tmp_path / "models", tested=True).path)
