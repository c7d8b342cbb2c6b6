"""Replies, from domain values to protobuf."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from rollcall.edge.converters import attention, enums, records
from rollcall.oip import open_inference_pb2
from rollcall.v1 import common_pb2, explanation_pb2, explanation_service_pb2, model_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import Enum

    from google.protobuf.message import Message

    from rollcall.domain import verdicts
    from rollcall.domain.decision import Prediction
    from rollcall.domain.explanation import Attribution, DecisionFlip, Explanation, Predicted, Progress, Timing
    from rollcall.domain.inputs import Box, Threshold, Unit
    from rollcall.domain.model import ModelCard, ModelRef
    from rollcall.domain.policy import ThoroughPolicy
    from rollcall.domain.recording import Receipt
    from rollcall.edge.port import Limits
    from rollcall.monitor.record import ModelRecord

    E = TypeVar("E", bound=Enum)


def predict_response(answer: Predicted) -> explanation_service_pb2.PredictResponse:
    """Write a prediction."""
    return explanation_service_pb2.PredictResponse(
        request_id=answer.request_id,
        model=_model_ref(answer.model),
        prediction=_prediction(answer.prediction),
        truncated=answer.tokens_used < answer.tokens_total,
        tokens_total=answer.tokens_total,
        tokens_used=answer.tokens_used,
        timing=_timing(answer.timing),
        reported_mismatch=answer.reported_mismatch,
        audit=_receipt(answer.receipt) if answer.receipt else None,
        word=_unit(answer.word) if answer.word else None,
    )


def explain_response(answer: Explanation) -> explanation_pb2.ExplainResponse:
    """Write an explanation. Raises InvalidInput if its attention would make the reply larger than clients accept."""
    primary, recommended = answer.primary, answer.recommended_map
    attributions = [_attribution(attribution) for attribution in answer.attributions]
    return explanation_pb2.ExplainResponse(
        explanation_id=answer.explanation_id,
        request_id=answer.request_id,
        model=_model_ref(answer.model),
        prediction=_prediction(answer.prediction),
        units=[_unit(unit) for unit in answer.units],
        attributions=attributions,
        effects=[
            explanation_pb2.Effect(unit=e.unit, effect=e.effect, standard_error=e.standard_error)
            for e in answer.effects
        ],
        decision_flip=_decision_flip(answer.decision_flip) if answer.decision_flip else None,
        primary_map=enums.MAP_KINDS[answer.primary_map],
        verdict=next(a.verdict for a in attributions if a.map == enums.MAP_KINDS[answer.primary_map]),
        recommended_map=enums.MAP_KINDS[recommended] if recommended else explanation_pb2.MAP_KIND_UNSPECIFIED,
        truncated=answer.tokens_used < answer.tokens_total,
        tokens_total=answer.tokens_total,
        tokens_used=answer.tokens_used,
        dropped_mass=primary.map.dropped_mass,
        reported_mismatch=answer.reported_mismatch,
        attention=attention.whole(answer.attention) if answer.attention else None,
        timing=_timing(answer.timing),
        rows=answer.rows,
        seed=answer.seed,
        units_grouped=answer.units_grouped,
        missing_maps=[
            explanation_pb2.MissingMap(map=enums.MAP_KINDS[missing.kind], reason=missing.reason)
            for missing in answer.missing_maps
        ],
        thorough_policy=_thorough_policy(answer.thorough) if answer.thorough else None,
        audit=_receipt(answer.receipt) if answer.receipt else None,
        retrospective_of=answer.retrospective_of,
        image_size=_image_size(answer.image_size) if answer.image_size else None,
        experimental=answer.experimental,
        word=_unit(answer.word) if answer.word else None,
    )


def _receipt(receipt: Receipt) -> explanation_pb2.AuditReceipt:
    return explanation_pb2.AuditReceipt(
        state=enums.RECORD_STATES[receipt.state],
        mode=enums.RECORD_MODES[receipt.mode],
        record_id=receipt.record_id,
        envelope_sha256=receipt.envelope_sha256,
        log_index=receipt.log_index,
        note=receipt.note,
    )


def progress_message(progress: Progress) -> explanation_service_pb2.ExplainStreamResponse:
    """Write how far an explanation is."""
    return explanation_service_pb2.ExplainStreamResponse(
        progress=explanation_service_pb2.Progress(
            stage=progress.stage, rows=progress.rows, planned_rows=progress.planned_rows
        )
    )


def header_message(answer: Explanation) -> explanation_service_pb2.ExplainStreamResponse:
    """Write an explanation as the header of a stream, which its attention follows."""
    return explanation_service_pb2.ExplainStreamResponse(header=explain_response(replace(answer, attention=None)))


def many_response(
    index: int, request_id: str, reply: explanation_pb2.ExplainResponse
) -> explanation_service_pb2.ExplainManyResponse:
    """Put an explanation at its place among many."""
    return explanation_service_pb2.ExplainManyResponse(index=index, request_id=request_id, explanation=reply)


def many_failure(
    index: int, request_id: str, *, code: int, message: str, details: bytes
) -> explanation_service_pb2.ExplainManyResponse:
    """Put at its place among many why there is no explanation."""
    failure = explanation_service_pb2.Failure(code=code, message=message, details=details)
    return explanation_service_pb2.ExplainManyResponse(index=index, request_id=request_id, failure=failure)


def model(
    card: ModelCard, *, limits: Limits, default_model: str | None, record: ModelRecord | None = None
) -> model_pb2.Model:
    """Write a model's card and its record."""
    return model_pb2.Model(
        ref=_model_ref(card.ref),
        family=card.family,
        task=enums.TASKS[card.task],
        labels=card.labels,
        layers=card.layers,
        heads=card.heads,
        max_tokens=card.max_tokens,
        max_units=card.max_units,
        max_characters=card.max_characters,
        max_rows=limits.max_rows,
        explainable=card.explainable,
        self_tests=[
            model_pb2.SelfTest(
                name=test.name, passed=test.passed, value=test.value, tolerance=test.tolerance, detail=test.detail
            )
            for test in card.self_tests
        ],
        maps=[enums.MAP_KINDS[kind] for kind in card.maps],
        checks=[enums.CHECK_KINDS[kind] for kind in card.checks],
        operators=[enums.OPERATORS[operator] for operator in card.operators],
        calibration=_calibration(card.calibration),
        threshold=_threshold(card.threshold) if card.threshold else None,
        is_default=card.ref.name == default_model,
        text_pairs=card.text_pairs,
        record=records.model_record(record, alpha=card.calibration.alpha) if record else None,
        scope=enums.SCOPES[card.scope],
        modality=enums.MODALITIES[card.modality],
        experimental=card.experimental,
        missing_maps=[
            explanation_pb2.MissingMap(map=enums.MAP_KINDS[each.kind], reason=each.reason) for each in card.lacking
        ],
    )


def describe(reply: Message) -> dict[str, str | int | float | bool]:
    """Pick what a log line tells of a reply: ids, counts, and flags as the metrics name them; nothing of the input."""
    if isinstance(reply, explanation_service_pb2.ExplainStreamResponse):
        return describe(reply.header) if reply.HasField("header") else {}
    if isinstance(reply, explanation_pb2.ExplainResponse):
        return {
            "explanation_id": reply.explanation_id,
            "tokens": reply.tokens_used,
            "units": len(reply.units),
            "rows": reply.rows,
            "map": _name(enums.MAP_KINDS, reply.primary_map),
            "flag": _name(enums.FLAGS, reply.verdict.flag),
            "reason": _name(enums.REASONS, reply.verdict.reason),
            **_recorded(reply),
        }
    if isinstance(reply, explanation_service_pb2.PredictResponse):
        return {"tokens": reply.tokens_used, **_recorded(reply)}
    if isinstance(reply, open_inference_pb2.ModelInferResponse):
        return {"items": reply.outputs[0].shape[0]}
    return {}


def _recorded(reply: explanation_pb2.ExplainResponse | explanation_service_pb2.PredictResponse) -> dict[str, str]:
    return {"record_id": reply.audit.record_id} if reply.audit.record_id else {}


def _name(numbers: Mapping[E, int], number: int) -> str:
    return next(str(member.value) for member, known in numbers.items() if known == number)


def _model_ref(ref: ModelRef) -> common_pb2.ModelRef:
    return common_pb2.ModelRef(
        name=ref.name,
        revision=ref.revision,
        digest=ref.digest,
        backend=ref.backend,
        device=ref.device,
        dtype=ref.dtype,
    )


def _prediction(prediction: Prediction) -> common_pb2.Prediction:
    return common_pb2.Prediction(
        labels=prediction.labels,
        probabilities=prediction.probabilities.tolist(),
        predicted=prediction.labels[prediction.predicted],
        predicted_index=prediction.predicted,
        margin=prediction.margin,
        target=prediction.labels[prediction.target],
        threshold_met=prediction.threshold_met,
        target_negated=prediction.target_negated,
    )


def _timing(timing: Timing) -> common_pb2.Timing:
    stages = [common_pb2.StageTiming(stage=stage, seconds=seconds) for stage, seconds in timing.stages]
    return common_pb2.Timing(stages=stages, total_seconds=timing.total_seconds)


def _threshold(threshold: Threshold) -> common_pb2.Threshold:
    return common_pb2.Threshold(label=threshold.label, probability=threshold.probability)


def _unit(unit: Unit) -> explanation_pb2.Unit:
    return explanation_pb2.Unit(
        text=unit.text,
        token_start=unit.token_start,
        token_end=unit.token_end,
        char_start=unit.char_start,
        char_end=unit.char_end,
        segment=unit.segment,
        box=_box(unit.box) if unit.box else None,
    )


def _box(box: Box) -> explanation_pb2.Box:
    return explanation_pb2.Box(left=box.left, top=box.top, right=box.right, bottom=box.bottom)


def _image_size(size: tuple[int, int]) -> explanation_pb2.ImageSize:
    width, height = size
    return explanation_pb2.ImageSize(width=width, height=height)


def _decision_flip(flip: DecisionFlip) -> explanation_pb2.DecisionFlip:
    return explanation_pb2.DecisionFlip(
        found=flip.found, units=flip.units, margins=flip.margins, sets_tried=flip.sets_tried
    )


def _attribution(attribution: Attribution) -> explanation_pb2.Attribution:
    return explanation_pb2.Attribution(
        map=enums.MAP_KINDS[attribution.map.kind],
        scores=attribution.map.scores.tolist(),
        class_specific=attribution.map.kind.class_specific,
        dropped_mass=attribution.map.dropped_mass,
        note=attribution.map.note,
        verdict=_verdict(attribution.verdict),
    )


def _verdict(verdict: verdicts.Verdict) -> explanation_pb2.Verdict:
    return explanation_pb2.Verdict(
        flag=enums.FLAGS[verdict.flag],
        reason=enums.REASONS[verdict.reason],
        scope=enums.SCOPES[verdict.scope],
        alignment=_alignment(verdict.alignment) if verdict.alignment else None,
        calibration=_calibration(verdict.calibration),
        checks=[_check(check) for check in verdict.checks],
        witnesses=[_witness(witness) for witness in verdict.witnesses],
        policy_id=verdict.policy_id,
        policy_digest=verdict.policy_digest,
        thresholds=verdict.thresholds,
        jsd_from_uniform=verdict.jsd_from_uniform,
        sides=[
            explanation_pb2.SideVerdict(
                segment=side.segment,
                flag=enums.FLAGS[side.flag],
                reason=enums.REASONS[side.reason],
                share=side.share,
                alignment=side.alignment,
                reliability=side.reliability,
            )
            for side in verdict.sides
        ],
    )


def _alignment(alignment: verdicts.Alignment) -> explanation_pb2.Alignment:
    return explanation_pb2.Alignment(
        value=alignment.value,
        width=alignment.width,
        reliability=alignment.reliability,
        removals=alignment.removals,
        p_up=alignment.p_up,
        p_low=alignment.p_low,
        per_operator=[
            explanation_pb2.OperatorAlignment(operator=enums.OPERATORS[one.operator], value=one.value, rows=one.rows)
            for one in alignment.per_operator
        ],
        ridge_lambda=alignment.ridge_lambda,
        prior=alignment.prior,
    )


def _calibration(calibration: verdicts.CalibrationRef) -> explanation_pb2.CalibrationRef:
    return explanation_pb2.CalibrationRef(
        id=calibration.id,
        alpha=calibration.alpha,
        confidence=calibration.confidence,
        statement=calibration.statement,
        created=None if calibration.created is None else Timestamp(seconds=int(calibration.created.timestamp())),
    )


def _check(check: verdicts.CheckResult) -> explanation_pb2.CheckResult:
    return explanation_pb2.CheckResult(
        kind=enums.CHECK_KINDS[check.kind],
        outcome=enums.CHECK_OUTCOMES[check.outcome],
        statistic=check.statistic,
        value=check.value,
        threshold=check.threshold,
        p_value=check.p_value,
        rows=check.rows,
        seed=check.seed,
        detail=check.detail,
    )


def _witness(witness: verdicts.Witness) -> explanation_pb2.Witness:
    return explanation_pb2.Witness(
        kind=enums.CHECK_KINDS[witness.kind],
        map=None if witness.map_scores is None else witness.map_scores.tolist(),
        jsd=witness.jsd,
        tvd=witness.tvd,
        removed_units=witness.removed_units,
        control_units=witness.control_units,
        detail=witness.detail,
        heads=[explanation_pb2.Head(layer=layer, head=head) for layer, head in witness.heads],
    )


def _thorough_policy(policy: ThoroughPolicy) -> explanation_pb2.ThoroughPolicy:
    return explanation_pb2.ThoroughPolicy(id=policy.id, digest=policy.digest, thresholds=policy.thresholds())
