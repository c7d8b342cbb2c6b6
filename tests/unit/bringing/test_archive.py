"""TorchServe archives: a Hugging Face model in one is found; everything that no archiver writes is refused."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rollcall.bringing.archive import MOST_MEMBERS, read_archive
from rollcall.bringing.placing import Place, write
from rollcall.domain.errors import ModelRejected
from rollcall.domain.model import Declared

Change = Callable[[zipfile.ZipFile], None]
MANIFEST = {"model": {"modelName": "reviews", "serializedFile": "pytorch_model.bin", "handler": "handler.py"}}


def archive(
    checkpoint: Path,
    out: Path,
    change: Change = lambda _: None,
    *,
    manifest: object = MANIFEST,
    without: tuple[str, ...] = (),
    **files: object,
) -> Path:
    """Write what torch-model-archiver 0.12 writes: every file at the top, the manifest in MAR-INF."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted(checkpoint.iterdir()):
            if path.name not in without:
                made.write(path, path.name)
        made.writestr("handler.py", "raise SystemExit\n")
        for name, content in files.items():
            made.writestr(f"{name}.json", json.dumps(content))
        if manifest is not None:
            made.writestr("MAR-INF/MANIFEST.json", manifest if isinstance(manifest, str) else json.dumps(manifest))
        change(made)
    return out


def test_a_hugging_face_model_is_found(checkpoint: Path, tmp_path: Path) -> None:
    """With its labels and where texts were cut, as the server did it; what else its handler did is not done here."""
    file = archive(
        checkpoint,
        tmp_path / "r.mar",
        index_to_name={"0": "bad", "2": "good", "1": "so-so"},
        setup_config={"mode": "sequence_classification", "max_length": "150"},
    )
    source = read_archive(file)
    assert (source.name, source.declared) == (
        "reviews",
        Declared(labels=("bad", "so-so", "good"), max_tokens=150),
    )
    assert {part.name for part in source.copied} == {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert [part.name for part in source.pickled] == ["pytorch_model.bin"]
    (note,) = source.notes
    assert "handler.py" in note
    with source.pickled[0].open() as weights:
        assert weights.read() == (checkpoint / "pytorch_model.bin").read_bytes()


def member(name: str, *, mode: int = 0, content: bytes = b"x", how: int = zipfile.ZIP_STORED) -> Change:
    """Add a file."""

    def change(made: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        made.writestr(info, content, compress_type=how)

    return change


def many(made: zipfile.ZipFile) -> None:
    """Add more files than any model has."""
    for number in range(MOST_MEMBERS):
        made.writestr(f"{number}", b"")


HOSTILE: dict[str, tuple[Change, str]] = {
    "a path out of it": (member("../../etc/config.json"), "leads out of the archive"),
    "an absolute path": (member("/etc/cron.d/x"), "leads out of the archive"),
    "a path of Windows": (member("..\\config.json"), "leads out of the archive"),
    "a drive": (member("C:config.json"), "leads out of the archive"),
    "a link": (member("vocab.txt", mode=stat.S_IFLNK | 0o777, content=b"/etc/passwd"), "is a link or a device"),
    "a device": (member("vocab.txt", mode=stat.S_IFCHR | 0o666), "is a link or a device"),
    "a bomb": (member("w.bin", content=bytes(32 << 20), how=zipfile.ZIP_DEFLATED), "more than any weights do"),
    "a denser bomb": (member("w.bin", content=bytes(1 << 19), how=zipfile.ZIP_LZMA), "in a way that no archiver"),
    "very many files": (many, "holds 10007 files"),
    "two models": (member("other/config.json", content=b"{}"), "holds 2 config.json"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_no_archiver_writes_is_refused(checkpoint: Path, tmp_path: Path, case: str) -> None:
    """Before anything is taken out of it."""
    change, says = HOSTILE[case]
    with pytest.raises(ModelRejected, match=says):
        read_archive(archive(checkpoint, tmp_path / "r.mar", change))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    """Which of the two is looked at, and which is taken?"""
    with pytest.raises(ModelRejected, match=r"'config\.json' is there twice"):
        read_archive(archive(checkpoint, tmp_path / "r.mar", member("config.json", content=b"{}")))


FOREIGN: dict[str, tuple[dict[str, object], str]] = {
    "no manifest": ({"manifest": None}, "has no MAR-INF/MANIFEST.json that names a model"),
    "a manifest of nothing": ({"manifest": {}}, "has no MAR-INF/MANIFEST.json that names a model"),
    "a manifest that is no JSON": ({"manifest": "{"}, "is no JSON"),
    "a manifest that is too deep": ({"manifest": "[" * 100_000}, "is no JSON"),
    "a compiled program": ({"manifest": {"model": {"serializedFile": "traced_model.pt"}}}, "is TorchScript.*ONNX"),
    "another task": ({"setup_config": {"mode": "question_answering"}}, "is for question_answering"),
    "labels with a gap": ({"index_to_name": {"0": "bad", "2": "good"}}, "no label for class '1'"),
    "texts that are cut nowhere": ({"setup_config": {"max_length": "long"}}, "cuts texts at long tokens"),
    "texts of which nothing is left": ({"setup_config": {"max_length": 2}}, "cuts texts at 2 tokens"),
    "texts that are cut beyond all numbers": (
        {"setup_config": {"max_length": "9" * 5_000}}, "cuts texts at 99999999999999999999 tokens"
    ),
    "labels of other things": ({"index_to_name": {"0": 7}}, "has a label that is no text"),
    "no configuration": ({"without": ("config.json",)}, "holds no config.json"),
    "no weights": ({"without": ("pytorch_model.bin",)}, "holds no model.safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOREIGN)
def test_what_holds_no_such_model_is_refused(checkpoint: Path, tmp_path: Path, case: str) -> None:
    """With the file and the reason, and advice where there is some."""
    options, says = FOREIGN[case]
    with pytest.raises(ModelRejected, match=says):
        read_archive(archive(checkpoint, tmp_path / "r.mar", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    """Archives of the other kinds that TorchServe knows, too."""
    (tmp_path / "r.mar").write_bytes(content)
    with pytest.raises(ModelRejected, match="is no zip, or a damaged one"):
        read_archive(tmp_path / "r.mar")


@pytest.mark.parametrize("case", ["cut", "other bytes", "encrypted", "larger than it says", "smaller than it says"])
def test_damage_is_found_when_a_file_is_taken_out(checkpoint: Path, tmp_path: Path, case: str) -> None:
    """Whatever the archive's list of contents says; and a file never becomes larger than what it said."""
    whole = archive(checkpoint, tmp_path / "r.mar")
    content = bytearray(whole.read_bytes())
    with zipfile.ZipFile(whole) as opened:
        info = opened.getinfo("tokenizer.json")
    data = info.header_offset + 30 + len(info.filename)
    listed = content.rindex(b"PK\x01\x02", 0, content.rindex(b"tokenizer.json"))
    if case == "cut":
        content = content[: len(content) // 2]
    elif case == "other bytes":
        content[data + 20 : data + 30] = bytes(10)
    elif case == "encrypted":
        content[listed + 8] |= 1
    else:
        said = info.file_size + (1 if case == "smaller than it says" else -100)
        content[listed + 24 : listed + 28] = said.to_bytes(4, "little")
    whole.write_bytes(bytes(content))
    place = Place(repository=tmp_path / "models", name="reviews", revision="1")
    with pytest.raises(ModelRejected, match=r"damaged|encrypted|says that it has"), place.staging(0) as staged:
        write(read_archive(whole), place, staged, "")
    assert list((tmp_path).glob("models/**/*")) == []
