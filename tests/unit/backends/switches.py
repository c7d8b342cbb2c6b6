"""Switching off, for a moment, what rows share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rollcall.backends.torch_backend import TorchBackend

FEATURES = ("readout_row_suffices", "rows_join_late", "batch_is_neutral")


def switches(backend: TorchBackend) -> dict[str, bool]:
    """Every feature, and whether it is on."""
    return {feature: bool(getattr(backend, feature)) for feature in FEATURES}


@contextmanager
def switched(backend: TorchBackend, **to: bool) -> Iterator[None]:
    """Switch some features, and all back afterwards."""
    before = switches(backend)
    assert set(to) <= set(before)
    try:
        for feature, on in to.items():
            setattr(backend, feature, on)
        yield
    finally:
        for feature, on in before.items():
            setattr(backend, feature, on)
