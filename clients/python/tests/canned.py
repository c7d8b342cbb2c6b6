"""Replies of a service that never was: small, complete, and different for each flag."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from rollcall_client import _answers
from rollcall_client._v1 import common_pb2, explanation_pb2, explanation_service_pb2, model_pb2

if TYPE_CHECKING:
    from rollcall_client import Explanation

WORDS = ("The", "plot", "was", "thin", ",", "but", "I", "laughed", "all", "evening", ".")
EFFECTS = (0.02, -0.31, -0.08, -1.64, 0.01, 0.44, 0.05, 2.87, 0.36, 0.21, 0.03)
GRADIENT = (0.01, 0.06, 0.02, 0.16, 0.01, 0.09, 0.02, 0.46, 0.09, 0.06, 0.02)
RAW = (0.11, 0.06, 0.10, 0.03, 0.21, 0.08, 0.07, 0.02, 0.06, 0.05, 0.21)
ROLLOUT = (0.09, 0.09, 0.08, 0.10, 0.08, 0.09, 0.10, 0.11, 0.09, 0.09, 0.08)
TWIN = (0.21, 0.02, 0.05, 0.21, 0.03, 0.10, 0.11, 0.06, 0.11, 0.06, 0.04)
DIGEST = "sha256:" + "5f" * 32

_UNSPECIFIED = explanation_pb2.REASON_UNSPECIFIED


def model_ref() -> common_pb2.ModelRef:
    """The weights that answered."""
    return common_pb2.ModelRef(
        name="reviews", revision="2026-10", digest=DIGEST, backend="torch", device="cpu", dtype="float32"
    )


def prediction() -> common_pb2.Prediction:
    """Rather positive."""
    return common_pb2.Prediction(
        labels=["negative", "positive"],
        probabilities=[0.127, 0.873],
        predicted="positive",
        predicted_index=1,
        margin=1.93,
        target="positive",
    )


def timing() -> common_pb2.Timing:
    """Most time goes into the checks."""
    stages = {
        "encode": 0.0006,
        "wait": 0.0021,
        "capture": 0.0183,
        "attribute": 0.0012,
        "check": 0.1874,
        "decide": 0.0009,
    }
    return common_pb2.Timing(
        stages=[common_pb2.StageTiming(stage=name, seconds=seconds) for name, seconds in stages.items()],
        total_seconds=0.2113,
    )


def units(words: tuple[str, ...] = WORDS) -> list[explanation_pb2.Unit]:
    """Words of one text with one token each, a space before all that are more than one punctuation mark."""
    made, end = list[explanation_pb2.Unit](), 0
    for index, word in enumerate(words):
        start = end if word in {",", "."} or not index else end + 1
        end = start + len(word)
        token = index + 1
        made.append(
            explanation_pb2.Unit(text=word, token_start=token, token_end=token + 1, char_start=start, char_end=end)
        )
    return made


def verdict(
    flag: explanation_pb2.Flag.ValueType,
    reason: explanation_pb2.Reason.ValueType = _UNSPECIFIED,
    *,
    value: float = 0.88,
    witness: bool = False,
) -> explanation_pb2.Verdict:
    """A calibrated verdict with this flag; `value` is its A, `witness` adds a twin with the same answer."""
    outcome = {
        explanation_pb2.FLAG_FAITHFUL: explanation_pb2.CHECK_OUTCOME_SUPPORTS,
        explanation_pb2.FLAG_UNFAITHFUL: explanation_pb2.CHECK_OUTCOME_CONTRADICTS,
    }.get(flag, explanation_pb2.CHECK_OUTCOME_INCONCLUSIVE)
    alignment = explanation_pb2.Alignment(
        value=value,
        width=0.12,
        reliability=0.91,
        removals=32,
        p_up=0.001,
        p_low=0.999,
        ridge_lambda=0.35,
        per_operator=[
            explanation_pb2.OperatorAlignment(
                operator=explanation_pb2.REMOVAL_OPERATOR_MASK_TOKEN, value=value + 0.03, rows=16
            ),
            explanation_pb2.OperatorAlignment(
                operator=explanation_pb2.REMOVAL_OPERATOR_HIDDEN_KEYS, value=value - 0.05, rows=16
            ),
        ],
    )
    checks = [
        explanation_pb2.CheckResult(
            kind=explanation_pb2.CHECK_KIND_INSTRUMENT,
            outcome=explanation_pb2.CHECK_OUTCOME_SUPPORTS,
            statistic="identity difference",
            value=0.0,
            threshold=1e-4,
            rows=4,
            seed=7,
            detail="Replaying the untouched attention changed nothing; uniform attention moved the read-out.",
        ),
        explanation_pb2.CheckResult(
            kind=explanation_pb2.CHECK_KIND_REACH,
            outcome=explanation_pb2.CHECK_OUTCOME_SUPPORTS,
            statistic="margin moved",
            value=0.97,
            threshold=0.1,
            rows=2,
            seed=7,
            detail="Removing every word moved the margin by 97 % of its size.",
        ),
        explanation_pb2.CheckResult(
            kind=explanation_pb2.CHECK_KIND_ALIGNMENT,
            outcome=outcome,
            statistic="A",
            value=value,
            threshold=0.5,
            p_value=0.001,
            rows=32,
            seed=7,
            detail="Two looks of 16 removals each were taken.",
        ),
        explanation_pb2.CheckResult(
            kind=explanation_pb2.CHECK_KIND_REWIRING,
            outcome=explanation_pb2.CHECK_OUTCOME_INCONCLUSIVE if witness else explanation_pb2.CHECK_OUTCOME_SKIPPED,
            statistic="lower bound of pi",
            value=0.41 if witness else None,
            threshold=0.5,
            rows=12 if witness else 0,
            seed=7,
            detail="9 of 12 draws gave the same answer." if witness else "The map does not rest on attention alone.",
        ),
    ]
    witnesses = [
        explanation_pb2.Witness(
            kind=explanation_pb2.CHECK_KIND_REWIRING,
            map=TWIN,
            jsd=0.162,
            tvd=0.018,
            detail="Attention permuted in every layer and head gives the same answer.",
        )
    ]
    return explanation_pb2.Verdict(
        flag=flag,
        reason=reason,
        scope=explanation_pb2.SCOPE_ALL_LAYERS,
        alignment=alignment,
        calibration=explanation_pb2.CalibrationRef(
            id="reviews-3",
            alpha=0.05,
            confidence=0.9,
            statement="for inputs like the calibration set, 4 to 60 words, with 90 % confidence at most 5 % of answers "
            "carry a flag that contradicts this model's own effects.",
        ),
        checks=checks,
        witnesses=witnesses if witness else [],
        policy_id="standard@1",
        policy_digest="sha256:" + "a1" * 32,
        thresholds={"alignment_min": 0.5, "reliability_min": 0.7},
        jsd_from_uniform=0.14,
    )


def unchecked() -> explanation_pb2.Verdict:
    """The verdict where no check was asked for."""
    return explanation_pb2.Verdict(flag=explanation_pb2.FLAG_NOT_CHECKED, policy_id="standard@1")


def attention(layers: int = 4, heads: int = 4, keys: int = len(WORDS) + 2) -> explanation_pb2.AttentionTensor:
    """Attention of the read-out query: head h of layer l looks mostly at token (3 l + 2 h) mod K."""
    values: list[float] = []
    for layer in range(layers):
        for head in range(heads):
            row = [1.0 + 6.0 * (key == (3 * layer + 2 * head) % keys) + 0.5 * (key == 0) for key in range(keys)]
            total = sum(row)
            values += [value / total for value in row]
    return explanation_pb2.AttentionTensor(
        layers=range(layers),
        heads=range(heads),
        readout=0,
        tensor=common_pb2.Tensor(
            data_type=common_pb2.DATA_TYPE_FLOAT32,
            shape=[layers, heads, 1, keys],
            data=struct.pack(f"<{len(values)}f", *values),
        ),
    )


def _attribution(
    kind: explanation_pb2.MapKind.ValueType,
    scores: tuple[float, ...],
    verdict: explanation_pb2.Verdict,
    *,
    class_specific: bool = False,
) -> explanation_pb2.Attribution:
    return explanation_pb2.Attribution(
        map=kind, scores=scores, class_specific=class_specific, dropped_mass=0.12, verdict=verdict
    )


def explain_reply(
    primary: explanation_pb2.Verdict | None = None, *, words: tuple[str, ...] = WORDS
) -> explanation_pb2.ExplainResponse:
    """An answer whose primary map, gradient rollout, has this verdict: FAITHFUL if None, and then recommended."""
    primary = primary or verdict(explanation_pb2.FLAG_FAITHFUL)
    faithful = primary.flag == explanation_pb2.FLAG_FAITHFUL
    return explanation_pb2.ExplainResponse(
        explanation_id="0192f3a4-explained",
        request_id="order-4711",
        model=model_ref(),
        prediction=prediction(),
        units=units(words),
        attributions=[
            _attribution(
                explanation_pb2.MAP_KIND_GRADIENT_ROLLOUT, GRADIENT[: len(words)], primary, class_specific=True
            ),
            _attribution(
                explanation_pb2.MAP_KIND_RAW_ATTENTION,
                RAW[: len(words)],
                verdict(explanation_pb2.FLAG_UNFAITHFUL, value=-0.42, witness=len(words) == len(TWIN)),
            ),
            _attribution(
                explanation_pb2.MAP_KIND_ATTENTION_ROLLOUT,
                ROLLOUT[: len(words)],
                verdict(explanation_pb2.FLAG_INCONCLUSIVE, explanation_pb2.REASON_FLAT_MAP, value=0.31),
            ),
        ],
        effects=[
            explanation_pb2.Effect(unit=unit, effect=effect, standard_error=0.09)
            for unit, effect in enumerate(EFFECTS[: len(words)])
        ],
        decision_flip=explanation_pb2.DecisionFlip(found=True, units=[7], margins=[-0.92, -1.13], sets_tried=3)
        if len(words) == len(WORDS)
        else explanation_pb2.DecisionFlip(found=False, sets_tried=8),
        primary_map=explanation_pb2.MAP_KIND_GRADIENT_ROLLOUT,
        verdict=primary,
        recommended_map=explanation_pb2.MAP_KIND_GRADIENT_ROLLOUT if faithful else explanation_pb2.MAP_KIND_UNSPECIFIED,
        tokens_total=len(words) + 2,
        tokens_used=len(words) + 2,
        dropped_mass=0.12,
        timing=timing(),
        rows=58,
        seed=11_400_714_819_323_198_485,
    )


def recommended_instead() -> explanation_pb2.ExplainResponse:
    """An answer whose primary map is unfaithful while another one, gradient rollout, is recommended."""
    reply = explain_reply()
    reply.primary_map = explanation_pb2.MAP_KIND_RAW_ATTENTION
    reply.verdict.CopyFrom(reply.attributions[1].verdict)
    reply.attention.CopyFrom(attention())
    return reply


def of_image(primary: explanation_pb2.Verdict | None = None) -> explanation_pb2.ExplainResponse:
    """An answer about an image of 5 x 4 pixels, cut into a block of 3 x 4 and one of 2 x 4."""
    reply = explain_reply(primary, words=("row 1, column 1", "row 1, column 2"))
    for unit, (left, right) in zip(reply.units, ((0, 3), (3, 5)), strict=True):
        unit.box.CopyFrom(explanation_pb2.Box(left=left, top=0, right=right, bottom=4))
    reply.decision_flip.CopyFrom(
        explanation_pb2.DecisionFlip(found=True, units=[0], margins=[-0.92, -1.13], sets_tried=3)
    )
    for told in (reply.verdict, *(each.verdict for each in reply.attributions)):
        for part in told.alignment.per_operator:
            if part.operator == explanation_pb2.REMOVAL_OPERATOR_MASK_TOKEN:
                part.operator = explanation_pb2.REMOVAL_OPERATOR_MEAN_PATCH
    reply.image_size.CopyFrom(explanation_pb2.ImageSize(width=5, height=4))
    reply.experimental = True
    return reply


def thorough() -> explanation_pb2.ExplainResponse:
    """An answer whose primary map has been looked at more closely."""
    reply = explain_reply()
    verdict = next(each.verdict for each in reply.attributions if each.map == reply.primary_map)
    verdict.checks.add(
        kind=explanation_pb2.CHECK_KIND_KNOCK_OUT,
        outcome=explanation_pb2.CHECK_OUTCOME_SUPPORTS,
        statistic="drop_renormalised_against_equal_size",
        value=2.48,
        p_value=0.0496,
        rows=51,
        detail="Without the edges to its top 3 units the decision loses +2.48 log-odds.",
    )
    verdict.checks.add(
        kind=explanation_pb2.CHECK_KIND_ERASURE,
        outcome=explanation_pb2.CHECK_OUTCOME_MEASURED,
        statistic="normalised_sufficiency_aopc",
        value=0.031,
    )
    verdict.witnesses.add(
        kind=explanation_pb2.CHECK_KIND_HEADS,
        detail="Silencing any one of these heads changes the decision.",
        heads=[explanation_pb2.Head(layer=1, head=2), explanation_pb2.Head(layer=0, head=3)],
    )
    verdict.witnesses.add(
        kind=explanation_pb2.CHECK_KIND_ADVERSARY,
        detail="The most different map with the same prediction that the search found: "
        "proof that such maps exist, not that this one is wrong.",
        map=[1.0, *[0.0] * (len(WORDS) - 1)],
        jsd=0.55,
        tvd=0.0001,
    )
    reply.verdict.CopyFrom(verdict)
    reply.thorough_policy.CopyFrom(
        explanation_pb2.ThoroughPolicy(id="thorough@1", digest=DIGEST, thresholds={"alpha": 0.05})
    )
    return reply


def not_checked() -> explanation_pb2.ExplainResponse:
    """An answer for which no check was asked."""
    reply = explain_reply(unchecked())
    for attribution in reply.attributions:
        attribution.verdict.CopyFrom(unchecked())
    del reply.effects[:]
    reply.ClearField("decision_flip")
    return reply


def explanation(reply: explanation_pb2.ExplainResponse | None = None) -> Explanation:
    """A reply as callers get it."""
    return _answers.explanation(reply or explain_reply())


def predict_reply() -> explanation_service_pb2.PredictResponse:
    """A prediction alone."""
    return explanation_service_pb2.PredictResponse(
        request_id="order-4711",
        model=model_ref(),
        prediction=prediction(),
        tokens_total=13,
        tokens_used=13,
        timing=timing(),
    )


def model() -> model_pb2.Model:
    """All about one model."""
    return model_pb2.Model(
        ref=model_ref(),
        family="bert",
        task=model_pb2.TASK_SINGLE_LABEL,
        labels=["negative", "positive"],
        layers=4,
        heads=4,
        max_tokens=512,
        max_units=128,
        max_characters=20_000,
        max_rows=512,
        explainable=True,
        self_tests=[
            model_pb2.SelfTest(name="rows sum to one", passed=True, value=1e-7, tolerance=1e-5, detail="They do.")
        ],
        maps=[explanation_pb2.MAP_KIND_RAW_ATTENTION, explanation_pb2.MAP_KIND_GRADIENT_ROLLOUT],
        checks=[explanation_pb2.CHECK_KIND_ALIGNMENT],
        operators=[explanation_pb2.REMOVAL_OPERATOR_MASK_TOKEN],
        calibration=explanation_pb2.CalibrationRef(id="NONE"),
        threshold=common_pb2.Threshold(label="positive", probability=0.93),
        is_default=True,
        text_pairs=False,
        record=record(),
    )


def record() -> model_pb2.ModelRecord:
    """A hundred answers, twenty of them checked again."""
    return model_pb2.ModelRecord(
        since=Timestamp(seconds=1_700_000_000),
        maps=[
            model_pb2.MapRecord(
                map=explanation_pb2.MAP_KIND_GRADIENT_ROLLOUT,
                requests=100,
                flags=[
                    model_pb2.FlagCount(flag=explanation_pb2.FLAG_FAITHFUL, requests=81),
                    model_pb2.FlagCount(flag=explanation_pb2.FLAG_INCONCLUSIVE, requests=19),
                ],
                mean_alignment=0.7,
                log_e_value=31.5,
                rechecked=[
                    model_pb2.RecheckedFlag(
                        flag=explanation_pb2.FLAG_FAITHFUL, rechecked=20, wrong=5, lower=0.087, upper=0.491
                    )
                ],
            ),
            model_pb2.MapRecord(map=explanation_pb2.MAP_KIND_RAW_ATTENTION),
        ],
        promise=model_pb2.KeptPromise(alpha=0.05, answers=20, wrong=5, lower_limit=0.104, broken=True),
    )
