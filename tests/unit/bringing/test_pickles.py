"""Weights in pickles: what is weights becomes safetensors, and what is anything else is never run."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rollcall.domain.errors import ModelRejected
from rollcall.models.pickles import rewrite, rewrite_index, rewritten_name

Trap = tuple[Path, Callable[[], bool]]


def weights() -> dict[str, torch.Tensor]:
    """A few tensors of several types."""
    torch.manual_seed(0)
    return {"a": torch.randn(3, 4), "b": torch.arange(5), "half": torch.randn(2, 2).bfloat16(), "one": torch.ones(())}


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_stay_what_they_are(tmp_path: Path, zipped: bool) -> None:  # noqa: FBT001 - a parameter
    """Also in files of torch before 1.6."""
    torch.save(OrderedDict(weights()), tmp_path / "in.bin", _use_new_zipfile_serialization=zipped)
    rewrite(tmp_path / "in.bin", tmp_path / "out.safetensors")
    found = load_file(tmp_path / "out.safetensors")
    assert found.keys() == weights().keys()
    assert all(found[name].equal(tensor) and found[name].dtype == tensor.dtype for name, tensor in weights().items())


@pytest.mark.parametrize("zipped", [True, False])
def test_tied_and_cut_weights_become_whole(tmp_path: Path, zipped: bool) -> None:  # noqa: FBT001 - a parameter
    """Two names of one tensor, a part of a larger one, a transposed one, a parameter."""
    large = torch.arange(24.0).reshape(4, 6)
    state = {"large": large, "again": large, "part": large[1:3], "turned": large.t(), "own": torch.nn.Parameter(large)}
    torch.save(state, tmp_path / "in.bin", _use_new_zipfile_serialization=zipped)
    rewrite(tmp_path / "in.bin", tmp_path / "out.safetensors")
    found = load_file(tmp_path / "out.safetensors")
    assert all(found[name].equal(tensor) for name, tensor in state.items())


def test_an_index_leads_to_the_rewritten_files(tmp_path: Path) -> None:
    """As transformers calls them."""
    index = {"metadata": {"total_size": 8}, "weight_map": {"a": "pytorch_model-00001-of-00002.bin"}}
    (tmp_path / "in.json").write_text(json.dumps(index))
    rewrite_index(tmp_path / "in.json", tmp_path / "out.json")
    out = json.loads((tmp_path / "out.json").read_text())
    assert out["weight_map"] == {"a": "model-00001-of-00002.safetensors"}
    assert rewritten_name("pytorch_model.bin.index.json") == "model.safetensors.index.json"


class Hostile:
    """Would make a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        """Aim."""
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """What a pickle is told to call."""
        return os.system, (f"touch {self.mark}",)


class Large:
    """Would take a terabyte."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        """A constructor that torch's own reader allows."""
        return bytearray, (1 << 40,)


def in_zip(file: Path, pickled: bytes, name: str = "archive/data.pkl", compression: int = zipfile.ZIP_STORED) -> None:
    """A file as torch writes it, around any pickle."""
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(name, pickled)
        archive.writestr("archive/version", "3\n")


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_never_run(tmp_path: Path, trap: Trap, protocol: int, zipped: bool) -> None:  # noqa: FBT001 - a parameter
    """However a pickle says what it wants called; and whoever brought it reads what that was, where it is a name."""
    mark, ran = trap
    pickled = pickle.dumps({"a": Hostile(mark)}, protocol)
    if zipped:
        in_zip(tmp_path / "in.bin", pickled)
    else:
        (tmp_path / "in.bin").write_bytes(pickled)
    with pytest.raises(ModelRejected, match=r"not weights alone: it names .*(system|STACK_GLOBAL)"):
        rewrite(tmp_path / "in.bin", tmp_path / "out.safetensors")
    assert not ran()
    assert not (tmp_path / "out.safetensors").exists()


def test_the_trap_works(trap: Trap) -> None:
    """The pickle of the tests above does run what it names, where somebody lets it."""
    mark, ran = trap
    pickle.loads(pickle.dumps(Hostile(mark)))  # noqa: S301 - ours, and the point
    assert ran()


def saved(state: object) -> bytes:
    """What torch writes."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def scripted() -> bytes:
    """A compiled program."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    return file.getvalue()


def zipped(pickled: bytes, name: str = "archive/data.pkl", compression: int = zipfile.ZIP_STORED) -> bytes:
    """The bytes of such a file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(name, pickled)
    return file.getvalue()


def older_that_declares_too_much() -> bytes:
    """A file of before 1.6 whose storage says that it has a terabyte."""
    file = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, file, _use_new_zipfile_serialization=False)
    content = file.getvalue()
    at = content.index(b"cpuq")  # after the device the pickle has the number of elements, as BININT1
    one = content.index(b"K\x03", at)
    return content[:one] + b"\x8a\x06" + (1 << 38).to_bytes(6, "little") + content[one + 2 :]


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "cannot be read as a pickle"),
    "text": (lambda: b"no weights at all", "cannot be read as a pickle"),
    "half a file": (lambda: saved(weights())[:600], "is damaged"),
    "half an older file": (lambda: older_that_declares_too_much()[:60], "cannot be read as a pickle|names"),
    "a compressed bomb": (
        lambda: zipped(b"\0" * (1 << 24), compression=zipfile.ZIP_DEFLATED),
        "is compressed, as torch never writes it",
    ),
    "a terabyte by name": (lambda: zipped(pickle.dumps({"a": Large()}, 2)), "names '__builtin__ bytearray'"),
    "a terabyte by declaration": (older_that_declares_too_much, "cannot be read as weights"),
    "a tensor that is larger than its memory": (
        lambda: saved({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}),
        "says that it has 4398046511104 bytes",
    ),
    "one tensor by many names": (
        lambda: saved(dict.fromkeys(map(str, range(50)), torch.zeros(1 << 16))),
        "names the same weights too often",
    ),
    "a compiled program": (scripted, "is TorchScript"),
    "a pickle under another name": (lambda: zipped(pickle.dumps({}, 2), name="archive/DATA.PKL"), "1 pickles, and not"),
    "no weights": (lambda: saved({}), "holds no dictionary of weights"),
    "a list": (lambda: saved([torch.zeros(1)]), "holds no dictionary of weights"),
    "numbers": (lambda: saved({"a": 1}), "something else than weights, under 'a'"),
    "weights within weights": (lambda: saved({"state_dict": weights()}), "something else than weights"),
    "a whole module": (lambda: saved(torch.nn.Linear(2, 2)), "names 'torch.nn.modules.linear Linear'"),
    "sparse weights": (lambda: saved({"a": torch.eye(3).to_sparse()}), "names 'torch._utils _rebuild_sparse_tensor'"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_what_is_not_weights_is_refused_in_words(tmp_path: Path, case: str) -> None:
    """And nothing is written."""
    make, says = REFUSED[case]
    (tmp_path / "in.bin").write_bytes(make())
    with pytest.raises(ModelRejected, match=says) as refusal:
        rewrite(tmp_path / "in.bin", tmp_path / "out.safetensors")
    assert len(str(refusal.value)) < 400
    assert not (tmp_path / "out.safetensors").exists()


def test_two_readings_of_one_file_do_not_differ(tmp_path: Path, trap: Trap) -> None:
    """A pickle with an archive behind it is a pickle to torch and an archive to others: it is read as torch would."""
    mark, ran = trap
    (tmp_path / "in.bin").write_bytes(pickle.dumps(Hostile(mark), 2) + saved(weights()))
    assert zipfile.is_zipfile(tmp_path / "in.bin")
    with pytest.raises(ModelRejected, match="system"):
        rewrite(tmp_path / "in.bin", tmp_path / "out.safetensors")
    assert not ran()
