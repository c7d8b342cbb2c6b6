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
    spread = {"widths", "looks", "path", "prior_looks", "prior_path", "rewiring_draws", "contradiction_shares"}
    plain = {f.name for f in fields(Policy)} - {"name", "version"} - spread
    assert plain <= thresholds.keys()
    assert {name.split(".")[0] for name in thresholds} == plain | spread


@pytest.mark.parametrize(
    ("removals", "prior", "index"),
    [
        *[(0, False, -1), (15, False, -1), (16, False, 0), (31, False, 0), (32, False, 1), (48, False, 2)],
        *[(0, True, -1), (7, True, -1), (8, True, 0), (15, True, 0), (16, True, 1), (32, True, 2), (48, True, 3)],
    ],
)
def test_a_width_holds_from_its_looks_removals_on(removals: int, prior: bool, index: int) -> None:  # noqa: FBT001
    """Too few removals for a look allow no verdict at all."""
    assert PLAIN.width_index(removals, 20, prior=prior) == index


@pytest.mark.parametrize("n", [1, 4, 6])
def test_short_texts_have_one_look_and_the_last_width(n: int) -> None:
    """However many subsets they have; without any there is no width."""
    assert [PLAIN.width_index(rows, n, prior=False) for rows in (0, 4, 28)] == [-1, 2, 2]
    assert [PLAIN.width_index(rows, n, prior=True) for rows in (0, 4, 28)] == [-1, 3, 3]
