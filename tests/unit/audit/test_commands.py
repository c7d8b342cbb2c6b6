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
from rollcall.audit.verify import BROKEN, HOLDS, UNVERIFIABLE
from tests.unit.audit import samples

SIGNER = Signer(name="log.example", seed=bytes(32))
KEY = SIGNER.verifier.line()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Keep a log of three records, the last of them not signed yet."""
    directory = tmp_path / "log"
    directory.mkdir()
    (directory / "signing.key").write_text(SIGNER.line())
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


def test_no_file_of_an_export_can_be_altered(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever file is changed, added or removed, verifying says so and names it; also with a manifest to match."""
    out = tmp_path / "out"
    assert main(["audit", "export", str(log), "--out", str(out)]) == 0
    files = sorted(path for path in out.rglob("*") if path.is_file())
    kinds = {path.suffix for path in files}
    assert kinds == {".jsonl", ".csv", ".html", ".note", ".tlog-proof", ".py", ".txt", ".vkey"}
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole + b"\n# altered\n")
        assert main(["audit", "verify", str(out), "--key", KEY]) == BROKEN, path
        path.unlink()
        assert main(["audit", "verify", str(out), "--key", KEY]) in {BROKEN, UNVERIFIABLE}, path
        path.write_bytes(whole)
        assert path.relative_to(out).as_posix() in capsys.readouterr().out
    (out / "pages" / "forged.html").write_text("FAITHFUL")
    assert main(["audit", "verify", str(out), "--key", KEY]) == BROKEN
    assert "pages/forged.html: is not in the manifest" in capsys.readouterr().out
    (out / "pages" / "forged.html").unlink()
    page, manifest = files[0].parent / "records.csv", out / "manifest.note"
    digest = hashlib.sha256(page.read_bytes()).hexdigest()
    page.write_text(page.read_text().replace("inconclusive", "faithful"))
    manifest.write_text(manifest.read_text().replace(digest, hashlib.sha256(page.read_bytes()).hexdigest()))
    assert main(["audit", "verify", str(out), "--key", KEY]) == BROKEN
    assert "manifest.note: the signature of log.example is wrong" in capsys.readouterr().out


def test_a_log_is_exported_with_its_own_key_only(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another log's key, or none, exports nothing."""
    export, out = ["audit", "export", str(log), "--out", str(tmp_path / "out")], tmp_path / "out"
    other = tmp_path / "other.key"
    other.write_text(Signer.generate("other.example").line())
    assert main([*export, "--signing-key", str(other)]) == 1
    assert "the signing key is of 'other.example', and the log is 'log.example'" in capsys.readouterr().err
    (log / "signing.key").rename(tmp_path / "mounted.key")
    assert main(export) == 1
    assert not out.exists()
    assert main([*export, "--signing-key", str(tmp_path / "mounted.key")]) == 0


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
    (tmp_path / "signing.key").write_text(SIGNER.line())
    assert main(["audit", "export", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "no checkpoint yet" in capsys.readouterr().err
