"""An auditor can look at a record, take records away, and verify them where nothing of ours is installed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from rollcall.__main__ import main
from rollcall.audit.notes import Signer
from rollcall.audit.store import Store
from rollcall.audit.verify import BROKEN, HOLDS
from tests.unit.audit import samples

SIGNER = Signer(name="log.example", seed=bytes(32))
KEY = SIGNER.verifier.line()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Keep a log of three records, the last of them not signed yet."""
    directory = tmp_path / "log"
    directory.mkdir()
    (directory / "log.vkey").write_text(KEY + "\n")
    store = Store(database=directory / "log.db", signer=SIGNER)
    store.open(1.0)
    store.append([samples.accepted(number) for number in range(2)])
    store.checkpoint()
    store.append([samples.accepted(2)])
    store.close()
    return directory


def test_a_record_is_shown_with_its_verdict_first(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the id of the record or of the explanation; no word of the text is shown."""
    record = samples.accepted(1)
    assert main(["audit", "show", str(log), "e-1"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == record.record_id
    assert "INCONCLUSIVE (low_power) of the map raw_attention" in shown[1]
    assert "no, because of: flag, mismatch" in shown[2]
    assert "index 2, under the checkpoint over 3 entries" in shown[-1]
    assert main(["audit", "show", str(log), samples.accepted(2).record_id]) == 0
    assert "not signed yet" in capsys.readouterr().out
    assert main(["audit", "show", str(log), "e-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["record_id"] == record.record_id
    assert main(["audit", "show", str(log), "nothing"]) == 1
    assert "no record or explanation nothing" in capsys.readouterr().err


def test_there_must_be_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory without a log is said to be one, and nothing is made in it."""
    assert main(["audit", "show", str(tmp_path), "x"]) == 1
    assert "there is no log" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_export_holds_what_is_signed(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What no checkpoint covers yet is left out, and said to be; the rest verifies."""
    out = tmp_path / "out"
    assert main(["audit", "export", str(log), "--out", str(out)]) == 0
    assert "2 records under the checkpoint over 3 entries" in capsys.readouterr().out
    assert main(["audit", "verify", str(out), "--key", KEY]) == HOLDS
    assert main(["audit", "export", str(log), "--out", str(out)]) == 1
    assert main(["audit", "export", str(log), "--out", str(tmp_path / "one"), "--record", "e-0"]) == 0
    assert len((tmp_path / "one" / "records.jsonl").read_text().splitlines()) == 1
    assert main(["audit", "export", str(log), "--out", str(tmp_path / "none"), "--record", "e-9"]) == 1


def test_the_same_export_has_the_same_bytes(log: Path, tmp_path: Path) -> None:
    """Two people who export the same records under the same checkpoint can compare what they have."""
    for name in ("a", "b"):
        assert main(["audit", "export", str(log), "--out", str(tmp_path / name)]) == 0
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert [(tmp_path / "a" / name).read_bytes() for name in files] == [
        (tmp_path / "b" / name).read_bytes() for name in files
    ]


def test_no_file_of_an_export_can_be_altered(log: Path, tmp_path: Path) -> None:
    """Whatever file is changed, verifying says so; also where the manifest is changed with it."""
    out = tmp_path / "out"
    assert main(["audit", "export", str(log), "--out", str(out)]) == 0
    for path in sorted(path for path in out.rglob("*") if path.is_file() and path.name != "manifest.json"):
        whole = path.read_bytes()
        path.write_bytes(whole + b"\n# altered\n")
        assert main(["audit", "verify", str(out), "--key", KEY]) == BROKEN, path
        path.write_bytes(whole)
    records, manifest = out / "records.jsonl", out / "manifest.json"
    altered = records.read_text().replace("low_power", "none")
    records.write_text(altered)
    listed = json.loads(manifest.read_text())
    del listed["files"]["README.txt"]
    listed["files"]["records.jsonl"] = hashlib.sha256(altered.encode()).hexdigest()
    manifest.write_text(json.dumps(listed))
    assert main(["audit", "verify", str(out), "--key", KEY]) == BROKEN


def test_an_export_is_verified_where_only_cryptography_is_installed(log: Path, tmp_path: Path) -> None:
    """The verifier that comes with an export needs Python and cryptography, and nothing of ours."""
    out, packages = tmp_path / "out", tmp_path / "packages"
    assert main(["audit", "export", str(log), "--out", str(out)]) == 0
    packages.mkdir()
    installed = Path(sysconfig.get_path("purelib"))
    for found in (*installed.glob("cryptography"), *installed.glob("cffi"), *installed.glob("_cffi_backend*")):
        (packages / found.name).symlink_to(found)
    done = subprocess.run(
        [sys.executable, "-S", "-m", "rollcall.audit.verify", ".", "--key", KEY],
        cwd=out,
        env={"PYTHONPATH": str(packages), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (HOLDS, "")
    assert "export .: holds" in done.stdout


def test_a_log_without_a_checkpoint_has_nothing_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records that nobody has signed for prove nothing."""
    store = Store(database=tmp_path / "log.db", signer=SIGNER)
    store.open(1.0)
    store.close()
    (tmp_path / "log.vkey").write_text(KEY)
    assert main(["audit", "export", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "no checkpoint yet" in capsys.readouterr().err
