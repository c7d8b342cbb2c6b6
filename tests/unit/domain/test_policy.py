"""The thresholds behind the flags, as one versioned value."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from rollcall.domain.policy import Policy

PLAIN = Policy(name="plain", version=3)


def test_id_names_name_and_version() -> None:
    """A verdict quotes its policy in one word."""
    assert PLAIN.id == "plain@3"


def test_the_same_numbers_have_the_same_digest_under_any_name() -> None:
    """Renaming a policy changes nothing that was decided by it."""
    assert replace(PLAIN, name="other", version=9).digest == PLAIN.digest
    assert PLAIN.digest.startswith("sha256:")
    assert len(PLAIN.digest) == len("sha256:") + 64


@pytest.mark.parametrize("name", [f.name for f in fields(Policy) if f.name not in {"name", "version"}])
def test_every_number_counts(name: str) -> None:
    """No threshold can change without the digest telling."""
    value: Any = getattr(PLAIN, name)
    other: Any = (*value[:-1], value[-1] + 1) if isinstance(value, tuple) else value + 1
    changed: dict[str, Any] = {name: other}
    assert replace(PLAIN, **changed).digest != PLAIN.digest


def test_every_number_is_told() -> None:
    """An answer carries every threshold by name, so that a flag can be decided again elsewhere."""
    thresholds = PLAIN.thresholds()
    assert thresholds["alignment_threshold"] == 0.5
    assert [thresholds[f"widths.{i}"] for i in range(3)] == [0.4, 0.2, 0.1]
    assert thresholds["require_calibration"] == 0.0
    spread = {"widths", "rewiring_draws", "contradiction_shares"}
    plain = {f.name for f in fields(Policy)} - {"name", "version"} - spread
    assert plain <= thresholds.keys()
    assert {name.split(".")[0] for name in thresholds} == plain | spread
