"""Domain values as the pipeline would return them, small and complete: every optional part is there once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rollcall.domain.decision import Prediction, Task
from rollcall.domain.explanation import Attribution, DecisionFlip, Effect, Explanation, Predicted, Timing
from rollcall.domain.inputs import Threshold, Unit
from rollcall.domain.maps import AttentionTensor, MapKind, TensorType, UnitMap
from rollcall.domain.model import ModelCard, ModelRef, SelfTest
from rollcall.domain.rows import RemovalOperator
from rollcall.domain.verdicts import (
    Alignment,
    CalibrationRef,
    CheckKind,
    CheckOutcome,
    CheckResult,
    Flag,
    OperatorAlignment,
    Reason,
    Scope,
    Verdict,
    Witness,
)
from rollcall.monitor.pooled import Pooled
from rollcall.monitor.record import Answer, Identity, MapRecord, ModelRecord
from rollcall.monitor.tally import Tally

MODEL = "sentiment"


def model_ref(name: str = MODEL) -> ModelRef:
    """Name some weights."""
    return ModelRef(
        name=name, revision="r1", digest="sha256:" + "ab" * 32, backend="torch", device="cpu", dtype="float32"
    )


def card(name: str = MODEL) -> ModelCard:
    """Describe a binary classifier that passed its self-test."""
    return ModelCard(
        ref=model_ref(name),
        family="bert",
        task=Task.SINGLE_LABEL,
        labels=("negative", "positive"),
        layers=2,
        heads=4,
        max_tokens=128,
        max_units=64,
        max_characters=1_000,
        self_tests=(SelfTest(name="rows_sum", passed=True, value=1e-7, tolerance=1e-5, detail="Rows sum to 1."),),
        maps=tuple(MapKind),
        checks=tuple(CheckKind),
        operators=tuple(RemovalOperator),
        calibration=CalibrationRef(id="c1", alpha=0.05, confidence=0.9, statement="At most 5 % wrong."),
        threshold=Threshold(label="positive", probability=0.93),
        text_pairs=True,
    )


def prediction() -> Prediction:
    """Predict the second class."""
    return Prediction(
        labels=("negative", "positive"),
        logits=np.array([-1.0, 1.0]),
        probabilities=np.array([0.12, 0.88]),
        predicted=1,
        margin=2.0,
        target=1,
        threshold_met=False,
        target_negated=True,
    )


def timing() -> Timing:
    """Time two stages."""
    return Timing(stages=(("encode", 0.001), ("predict", 0.02)), total_seconds=0.03)


def predicted(request_id: str = "r-1", model: str = MODEL) -> Predicted:
    """Answer a PredictRequest."""
    return Predicted(
        request_id=request_id,
        model=model_ref(model),
        prediction=prediction(),
        tokens_total=140,
        tokens_used=128,
        timing=timing(),
    )


def verdict(flag: Flag = Flag.FAITHFUL, reason: Reason = Reason.NONE) -> Verdict:
    """Give a verdict with one shared check, one check of the map, and a witness."""
    return Verdict(
        flag=flag,
        reason=reason,
        scope=Scope.ALL_LAYERS,
        alignment=Alignment(
            value=0.8,
            width=0.2,
            reliability=0.9,
            removals=32,
            p_up=0.01,
            p_low=0.99,
            per_operator=(OperatorAlignment(operator=RemovalOperator.MASK_TOKEN, value=0.7, rows=16),),
            ridge_lambda=0.5,
        ),
        calibration=CalibrationRef(id="NONE"),
        checks=(
            CheckResult(kind=CheckKind.INSTRUMENT, outcome=CheckOutcome.SUPPORTS, statistic="shift", value=0.5, rows=4),
            CheckResult(
                kind=CheckKind.ALIGNMENT,
                outcome=CheckOutcome.SUPPORTS,
                statistic="A",
                value=0.8,
                threshold=0.5,
                p_value=0.01,
                rows=32,
                seed=2**64 - 1,
                detail="The weights follow the effects.",
            ),
        ),
        witnesses=(
            Witness(
                kind=CheckKind.REWIRING,
                detail="Another map gives the same answer.",
                map_scores=np.array([0.9, 0.1]),
                jsd=0.3,
                tvd=0.01,
                removed_units=(0,),
                control_units=(1,),
            ),
        ),
        policy_id="standard@3",
        policy_digest="sha256:" + "cd" * 32,
        thresholds={"A0": 0.5},
        jsd_from_uniform=0.1,
    )


def attribution(kind: MapKind, a_verdict: Verdict) -> Attribution:
    """Put a verdict on a map over two units."""
    return Attribution(map=UnitMap(kind=kind, scores=np.array([0.3, 0.7]), dropped_mass=0.25), verdict=a_verdict)


def attention() -> AttentionTensor:
    """Hold one layer's read-out row over three tokens."""
    return AttentionTensor(
        layers=(1,), heads=(), readout=0, tensor_type=TensorType.UINT8, shape=(1, 1, 1, 3), data=b"\x55\x55\x55"
    )


def explanation(request_id: str = "r-1", model: str = MODEL) -> Explanation:
    """Answer an ExplainRequest with two maps, the second of them recommended."""
    return Explanation(
        explanation_id="e-1",
        request_id=request_id,
        model=model_ref(model),
        prediction=prediction(),
        units=(
            Unit(text="good", token_start=1, token_end=2, char_start=0, char_end=4, segment=0),
            Unit(text="film", token_start=2, token_end=4, char_start=5, char_end=9, segment=0),
        ),
        units_grouped=True,
        attributions=(
            attribution(MapKind.RAW_ATTENTION, verdict(Flag.INCONCLUSIVE, Reason.LOW_POWER)),
            attribution(MapKind.GRADIENT_ROLLOUT, verdict()),
        ),
        effects=(
            Effect(unit=0, effect=1.5, standard_error=0.2),
            Effect(unit=1, effect=-0.5, standard_error=0.3),
        ),
        decision_flip=DecisionFlip(found=True, units=(0,), margins=(-0.1, -0.2), sets_tried=3),
        primary_map=MapKind.RAW_ATTENTION,
        recommended_map=MapKind.GRADIENT_ROLLOUT,
        tokens_total=140,
        tokens_used=128,
        reported_mismatch=True,
        attention=attention(),
        timing=timing(),
        rows=70,
        seed=2**64 - 1,
    )


def bare_explanation() -> Explanation:
    """Answer with every optional part absent."""
    unchecked = replace(
        verdict(Flag.NOT_CHECKED), alignment=None, checks=(), witnesses=(), thresholds={}, jsd_from_uniform=None
    )
    return replace(
        explanation(),
        attributions=(attribution(MapKind.RAW_ATTENTION, unchecked),),
        effects=(),
        decision_flip=None,
        recommended_map=None,
        attention=None,
    )


def record() -> ModelRecord:
    """Remember a hundred requests of one map, twenty FAITHFUL flags checked again, and a promise that is broken."""
    pooled = Pooled(flags={Flag.FAITHFUL: 81, Flag.INCONCLUSIVE: 19}, alignments=90, alignment_sum=63.0, log_e=31.5)
    return ModelRecord(
        identity=Identity.of(card()),
        since=1_700_000_000,
        maps={
            MapKind.GRADIENT_ROLLOUT: MapRecord(pooled=pooled, rechecked={Flag.FAITHFUL: Tally(checked=20, wrong=5)})
        },
        answers=tuple(Answer(at=1_700_000_100 + i, wrong=i < 5) for i in range(20)),
    )
