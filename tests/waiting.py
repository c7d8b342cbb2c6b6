"""Waiting for what another thread or process will do."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 30.0


def wait_until(true: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until something is true; fail where it does not become so."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)
