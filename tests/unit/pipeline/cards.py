"""A model's card with nothing special about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rollcall.domain.decision import Task
from rollcall.domain.maps import MapKind
from rollcall.domain.model import ModelCard, ModelRef, SelfTest
from rollcall.domain.rows import TEXT_REMOVALS
from rollcall.domain.verdicts import CheckKind
from rollcall.verdict.calibration import UNCALIBRATED

PASSED = SelfTest(name="call_count", passed=True, value=0.0, tolerance=0.0, detail="Differ by 0.")
FAILED = SelfTest(name="masked_keys_are_zero", passed=False, value=0.2, tolerance=0.0, detail="Largest is 0.2.")

PLAIN = ModelCard(
    ref=ModelRef(
        name="mood", revision="7", digest="sha256:" + "0" * 64, backend="torch", device="cpu", dtype="float32"
    ),
    family="BERT",
    task=Task.SINGLE_LABEL,
    labels=("bad", "so-so", "good"),
    layers=3,
    heads=4,
    max_tokens=64,
    max_units=64,
    max_characters=1000,
    self_tests=(PASSED,),
    maps=tuple(MapKind),
    checks=tuple(CheckKind),
    operators=TEXT_REMOVALS.every,
    calibration=UNCALIBRATED,
    threshold=None,
    text_pairs=True,
)


def card(**changes: Any) -> ModelCard:  # noqa: ANN401 - the fields of ModelCard
    """Make a card that differs from the plain one."""
    return replace(PLAIN, **changes)


def named(name: str, revision: str = "7") -> ModelCard:
    """Make the plain card of a model with another name or revision."""
    return card(ref=replace(PLAIN.ref, name=name, revision=revision))
