"""What is a worker's own in the settings that all of them share."""

from __future__ import annotations

from pathlib import Path

from rollcall.settings import Entry, Settings, Sources, load_settings, reread
from rollcall.workers import Worker


def whole(tmp_path: Path, **environ: str) -> Settings:
    """Settings of three workers."""
    model = Entry(place="--model", key=("models", "m", "path"), value=tmp_path)
    variables = {"ROLLCALL_DEVICES": "cpu,cuda:1,cpu", **environ}
    return load_settings(Sources(environ=variables, overrides=(model,)))


def test_each_worker_has_its_device_its_admin_port_and_its_state(tmp_path: Path) -> None:
    """Nothing that one process alone may have is shared; everything else is the same."""
    settings = whole(tmp_path, ROLLCALL_STATE_DIRECTORY=str(tmp_path / "state"))
    worker = Worker(index=1, devices=settings.devices, grpc_port=5)
    own = worker.settings(settings)
    assert (own.grpc.port, own.admin.port) == (5, settings.admin.port + 1)
    assert own.state.directory == tmp_path / "state" / "worker-1"
    assert [model.device for model in own.models] == ["cuda:1"]
    assert (own.explain, own.limits, own.log) == (settings.explain, settings.limits, settings.log)
    assert worker.describe() == {"index": 1, "of": 3, "device": "cuda:1"}


def test_memory_is_shared_by_those_on_one_device(tmp_path: Path) -> None:
    """Two workers on the processor have half of its memory each; one on a device of its own has all of it."""
    devices = whole(tmp_path).devices
    assert [Worker(index=i, devices=devices, grpc_port=5).sharers for i in range(3)] == [2, 1, 2]


def test_free_ports_and_records_in_memory_stay_what_they_are(tmp_path: Path) -> None:
    """Port 0 is a free port for each worker, and no directory is no directory."""
    own = Worker(index=2, devices=("cpu",) * 3, grpc_port=5).settings(whole(tmp_path, ROLLCALL_ADMIN_PORT="0"))
    assert own.admin.port == 0
    assert own.state.directory is None


def test_reading_settings_again_finds_no_difference_that_is_the_workers_own(tmp_path: Path) -> None:
    """SIGHUP does not tell each worker that its own ports want a restart."""
    worker = Worker(index=1, devices=("cpu", "cuda:1", "cpu"), grpc_port=5)
    settings = whole(tmp_path)
    found = reread(worker.settings(settings), lambda: worker.settings(load_settings(settings.sources)))
    assert found.needs_restart == found.changed == ()
