"""What a worker's process does. A module of its own, so that it can be found by name there and costs nothing here."""

from __future__ import annotations

from collections.abc import Callable

from rollcall.settings import Settings
from rollcall.workers import Worker


def work(settings: Settings, worker: Worker, ready: Callable[[int], None]) -> int:
    """Serve as one of several processes; see `rollcall.app.serve`."""
    from rollcall import app  # noqa: PLC0415 - the supervisor, who only names this function, needs no torch

    return app.serve(settings, worker, ready)
