"""Two servers never write one state directory."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from rollcall.monitor.ownership import owning

HOLD = """
import sys
from pathlib import Path
from rollcall.monitor.ownership import owning
with owning(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_a_second_owner_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """The second learns whose fault it is; when the first has left, the directory is free again."""
    state = tmp_path / "deep" / "state"
    with owning(state), pytest.raises(OSError, match="belongs to another server"), owning(state):
        pass
    with owning(state):
        pass


def test_a_killed_owner_leaves_nothing_behind(tmp_path: Path) -> None:
    """However a process ended, its successor starts."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(OSError, match=str(tmp_path)), owning(tmp_path):
            pass
        other.kill()
        other.wait()
        with owning(tmp_path):
            pass


def test_a_directory_that_cannot_be_made_is_said_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of the disk stops nobody."""
    (tmp_path / "file").write_text("")
    with owning(tmp_path / "file" / "state"):
        assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == ["state_not_locked"]


def test_a_lock_that_cannot_be_had_is_said_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A lock file that is something else is no reason not to serve."""
    (tmp_path / "lock").mkdir()
    with owning(tmp_path):
        assert [record.message for record in caplog.records] == ["state_not_locked"]
