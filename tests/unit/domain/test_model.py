"""What can be known about a model without running it."""

from __future__ import annotations

import pytest

from rollcall.domain.decision import Task
from rollcall.domain.model import ModelCard, ModelRef, SelfTest
from rollcall.verdict.calibration import UNCALIBRATED

PASSED = SelfTest(name="rows_sum_to_one", passed=True, value=0.0, tolerance=1e-5, detail="")
FAILED = SelfTest(name="call_count", passed=False, value=1.0, tolerance=0.0, detail="")


def card(*tests: SelfTest) -> ModelCard:
    """A card with these self-tests."""
    return ModelCard(
        ref=ModelRef(name="m", revision="", digest="", backend="torch", device="cpu", dtype="float32"),
        family="BERT",
        task=Task.SINGLE_LABEL,
        labels=("no", "yes"),
        layers=1,
        heads=1,
        max_tokens=8,
        max_units=8,
        max_characters=8,
        self_tests=tests,
        maps=(),
        checks=(),
        operators=(),
        calibration=UNCALIBRATED,
        threshold=None,
        text_pairs=True,
    )


@pytest.mark.parametrize(
    ("tests", "explainable"), [((PASSED, PASSED), True), ((PASSED, FAILED), False), ((FAILED,), False), ((), False)]
)
def test_only_proven_hooks_explain(tests: tuple[SelfTest, ...], explainable: bool) -> None:  # noqa: FBT001 - a table
    """One failed self-test, or none at all, leaves predictions only."""
    assert card(*tests).explainable is explainable
