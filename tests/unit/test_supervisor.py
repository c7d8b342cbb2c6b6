"""Workers are started, watched and replaced. Those here load no model: they live and die as a test says."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollcall.settings import Entry, GrpcSettings, Settings, Sources, load_settings
from rollcall.supervisor import BACKOFF_SECONDS, MOST_DEATHS, STEADY_SECONDS, Restarts, reserved_port, supervise
from rollcall.workers import Worker

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def log_of_its_own() -> Iterator[None]:
    """The supervisor sends the log of its whole process elsewhere: here that is the test's process."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def settings_of(directory: Path, devices: str = "cpu", config: str = "") -> Settings:
    """Settings of workers that keep what they have to say in `directory`."""
    file = directory / "rollcall.toml"
    file.write_text(config)
    model = Entry(place="--model", key=("models", "m", "path"), value=directory)
    environ = {"ROLLCALL_DEVICES": devices, "ROLLCALL_GRPC_PORT": "0", "ROLLCALL_STATE_DIRECTORY": str(directory)}
    return load_settings(Sources(config=file, environ=environ, overrides=(model,)))


def note(settings: Settings, text: str) -> list[str]:
    """Write a line where the test can read it; all lines so far."""
    assert settings.state.directory is not None
    notes = settings.state.directory / "notes"
    with notes.open("a") as file:
        file.write(f"{text}\n")
    return notes.read_text().splitlines()


def stop_all() -> None:
    """Ask the supervisor to stop, and wait for its SIGTERM."""
    os.kill(os.getppid(), signal.SIGTERM)
    signal.pause()


def dies_twice(settings: Settings, worker: Worker, ready: Callable[[int], None]) -> int:
    """Be killed twice as soon as it is ready; live at the third start."""
    starts = note(settings, f"{worker.index} on {worker.device}")
    ready(1)
    if len(starts) < 3:
        os.kill(os.getpid(), signal.SIGKILL)
    stop_all()
    return 0


def never_ready(settings: Settings, worker: Worker, ready: Callable[[int], None]) -> int:
    """Fail as one that cannot load its model."""
    del worker, ready
    note(settings, "failed")
    return 1


def takes_over(settings: Settings, worker: Worker, ready: Callable[[int], None]) -> int:
    """Change the file, have everybody read it again, and die of it; the next one notes what it was started with."""
    del worker
    starts = note(settings, str(settings.live.max_rows))
    if len(starts) > 1:
        ready(1)
        stop_all()
    assert settings.state.directory is not None
    (settings.state.directory / "rollcall.toml").write_text("[explain]\nmax_rows = 7\n")
    ready(1)
    os.kill(os.getppid(), signal.SIGHUP)
    signal.pause()  # nobody handles SIGHUP here: it ends the process
    return 0


def notes(directory: Path) -> list[str]:
    """What workers noted."""
    return (directory / "notes").read_text().splitlines()


def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    """However often it dies, it comes back with the device it had; a stop that was asked for is a success."""
    assert supervise(settings_of(tmp_path), dies_twice) == 0
    assert notes(tmp_path) == ["0 on cpu"] * 3


def test_a_start_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    """What was never ready has something wrong that trying again will not mend."""
    assert supervise(settings_of(tmp_path, devices="cpu,cpu"), never_ready) == 1
    assert 1 <= len(notes(tmp_path)) <= 2


def test_settings_read_again_are_those_of_the_next_worker(tmp_path: Path) -> None:
    """A worker that is started after SIGHUP has what the others took over."""
    assert supervise(settings_of(tmp_path, config="[explain]\nmax_rows = 100\n"), takes_over) == 0
    assert notes(tmp_path) == ["100", "7"]


def test_a_port_is_kept_for_those_who_share_it() -> None:
    """Workers may listen on the port that is held, others may not, and nor may a second supervisor."""
    with reserved_port(GrpcSettings(port=0)) as port:
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(("127.0.0.1", port))
            worker.listen()
        with pytest.raises(OSError, match="cannot listen"), reserved_port(GrpcSettings(port=port)):
            pass
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
    with reserved_port(GrpcSettings(port=port)) as again:
        assert again == port


def test_who_keeps_dying_waits_longer_and_longer() -> None:
    """The first death is mended at once, later ones after doubling pauses, up to a largest one."""
    restarts = Restarts(workers=1)
    pauses = [restarts.died(0, 10.0) - 10.0 for _ in range(9)]
    assert pauses == [*BACKOFF_SECONDS, BACKOFF_SECONDS[-1], BACKOFF_SECONDS[-1]]


def test_who_was_steady_begins_anew() -> None:
    """A crash a day is no row of crashes; one right after each start is."""
    restarts = Restarts(workers=1)
    for _ in range(3):
        restarts.ready(0, 0.0)
        restarts.died(0, STEADY_SECONDS / 2)
    assert restarts.deaths == {0: 3}
    restarts.ready(0, 100.0)
    assert restarts.died(0, 100.0 + STEADY_SECONDS) == 100.0 + STEADY_SECONDS
    assert restarts.deaths == {0: 1}


def test_there_is_hope_while_one_lives() -> None:
    """Only where every worker has died so often in a row, and none is ready, is it given up."""
    restarts = Restarts(workers=2)
    for _ in range(MOST_DEATHS):
        assert not restarts.hopeless
        restarts.died(0, 0.0)
    restarts.ready(1, 0.0)
    for _ in range(MOST_DEATHS - 1):
        restarts.died(1, 1.0)
        restarts.ready(1, 1.0)
    assert not restarts.hopeless
    restarts.died(1, 2.0)
    assert restarts.hopeless
