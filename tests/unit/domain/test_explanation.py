"""The answer to an explanation."""

from __future__ import annotations

import numpy as np

from rollcall.domain.decision import Prediction
from rollcall.domain.explanation import Attribution, ExplainRequest, Explanation, Timing
from rollcall.domain.inputs import Target, TextInput
from rollcall.domain.maps import MapKind
from rollcall.domain.model import ModelRef
from rollcall.domain.verdicts import Flag, Reason, Scope, Verdict
from rollcall.verdict.calibration import UNCALIBRATED
from tests.subjects import encoding, unit_map


def attribution(kind: MapKind, flag: Flag) -> Attribution:
    """A map with a flag."""
    verdict = Verdict(
        flag=flag,
        reason=Reason.NONE,
        scope=Scope.ALL_LAYERS,
        alignment=None,
        calibration=UNCALIBRATED,
        checks=(),
        witnesses=(),
        policy_id="p@1",
        policy_digest="",
    )
    return Attribution(map=unit_map([0.5, 0.5], kind), verdict=verdict)


def test_the_flag_of_the_answer_is_that_of_the_primary_map() -> None:
    """Several maps have several flags; one of them speaks for the answer."""
    logits = np.array([0.0, 1.0])
    explanation = Explanation(
        explanation_id="e",
        request_id="r",
        model=ModelRef(name="m", revision="", digest="", backend="torch", device="cpu", dtype="float32"),
        prediction=Prediction(
            labels=("no", "yes"),
            logits=logits,
            probabilities=logits,
            predicted=1,
            margin=1.0,
            target=1,
            threshold_met=None,
            target_negated=False,
        ),
        units=encoding(2).units,
        units_grouped=False,
        attributions=(
            attribution(MapKind.RAW_ATTENTION, Flag.UNFAITHFUL),
            attribution(MapKind.GRADIENT_ROLLOUT, Flag.FAITHFUL),
        ),
        effects=(),
        decision_flip=None,
        primary_map=MapKind.GRADIENT_ROLLOUT,
        recommended_map=None,
        tokens_total=4,
        tokens_used=4,
        reported_mismatch=False,
        attention=None,
        timing=Timing(stages=(), total_seconds=0.0),
        rows=1,
        seed=0,
    )
    assert explanation.primary.verdict.flag is Flag.FAITHFUL


def test_a_request_that_says_nothing_leaves_everything_to_the_defaults() -> None:
    """Empty and None mean the default of model, policy or server, never "nothing" or "zero"."""
    request = ExplainRequest(
        request_id="", model="", revision="", input=TextInput(text="x"), target=Target(), threshold=None, deadline=None
    )
    assert request.maps == ()
    unsaid = (request.primary_map, request.check_level, request.max_rows, request.seed, request.attention)
    assert unsaid == (None,) * 5
    assert (request.target.target, request.target.foil) == (None, None)
