"""Replies to Python values: pure functions, and the only place where both are known.

All raise ValueError where a reply contradicts itself.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from rollcall_client import enums, types
from rollcall_client.explanation import Explanation
from rollcall_client.options import Threshold
from rollcall_client.tensors import AttentionTensor

if TYPE_CHECKING:
    from rollcall_client._v1 import common_pb2, explanation_pb2, explanation_service_pb2, model_pb2


def explanation(reply: explanation_pb2.ExplainResponse) -> Explanation:
    """An explanation."""
    return Explanation(
        explanation_id=reply.explanation_id,
        request_id=reply.request_id,
        model=_model_ref(reply.model),
        prediction=_prediction(reply.prediction),
        units=tuple(_unit(unit) for unit in reply.units),
        attributions=tuple(_attribution(attribution) for attribution in reply.attributions),
        effects=tuple(_effect(effect) for effect in reply.effects),
        decision_flip=_decision_flip(reply.decision_flip) if reply.HasField("decision_flip") else None,
        primary_map=enums.MapKind(reply.primary_map),
        verdict=_verdict(reply.verdict),
        recommended_map=enums.MapKind(reply.recommended_map),
        truncated=reply.truncated,
        tokens_total=reply.tokens_total,
        tokens_used=reply.tokens_used,
        dropped_mass=reply.dropped_mass,
        reported_mismatch=reply.reported_mismatch,
        attention=attention(reply.attention, reply.attention.tensor.data) if reply.HasField("attention") else None,
        timing=_timing(reply.timing),
        rows=reply.rows,
        seed=reply.seed,
        units_grouped=reply.units_grouped,
        missing_maps=tuple(
            types.MissingMap(map=enums.MapKind(missing.map), reason=missing.reason) for missing in reply.missing_maps
        ),
        thorough_policy=_thorough_policy(reply.thorough_policy) if reply.HasField("thorough_policy") else None,
        audit=_receipt(reply.audit) if reply.HasField("audit") else None,
        retrospective_of=reply.retrospective_of,
        image_size=(reply.image_size.width, reply.image_size.height) if reply.HasField("image_size") else None,
        experimental=reply.experimental,
        word=_unit(reply.word) if reply.HasField("word") else None,
    )


def progress(message: explanation_service_pb2.Progress) -> types.Progress:
    """How far an explanation is."""
    return types.Progress(stage=message.stage, rows=message.rows, planned_rows=message.planned_rows)


def attention(described: explanation_pb2.AttentionTensor, data: bytes) -> AttentionTensor:
    """Attention whose bytes are in the reply, or came in chunks."""
    return AttentionTensor(
        layers=tuple(described.layers),
        heads=tuple(described.heads),
        readout=described.readout,
        shape=tuple(described.tensor.shape),
        data_type=enums.DataType(described.tensor.data_type),
        data=data,
    )


def prediction(reply: explanation_service_pb2.PredictResponse) -> types.PredictResult:
    """A prediction."""
    return types.PredictResult(
        request_id=reply.request_id,
        model=_model_ref(reply.model),
        prediction=_prediction(reply.prediction),
        truncated=reply.truncated,
        tokens_total=reply.tokens_total,
        tokens_used=reply.tokens_used,
        timing=_timing(reply.timing),
        reported_mismatch=reply.reported_mismatch,
        audit=_receipt(reply.audit) if reply.HasField("audit") else None,
        word=_unit(reply.word) if reply.HasField("word") else None,
    )


def models(reply: explanation_service_pb2.ListModelsResponse) -> tuple[types.Model, ...]:
    """Every model."""
    return tuple(_model(model) for model in reply.models)


def model(reply: explanation_service_pb2.GetModelResponse) -> types.Model:
    """One model."""
    return _model(reply.model)


def _model_ref(ref: common_pb2.ModelRef) -> types.ModelRef:
    return types.ModelRef(
        name=ref.name,
        revision=ref.revision,
        digest=ref.digest,
        backend=ref.backend,
        device=ref.device,
        dtype=ref.dtype,
    )


def _prediction(prediction: common_pb2.Prediction) -> types.Prediction:
    return types.Prediction(
        labels=tuple(prediction.labels),
        probabilities=tuple(prediction.probabilities),
        predicted=prediction.predicted,
        predicted_index=prediction.predicted_index,
        margin=prediction.margin,
        target=prediction.target,
        threshold_met=prediction.threshold_met if prediction.HasField("threshold_met") else None,
        target_negated=prediction.target_negated,
    )


def _timing(timing: common_pb2.Timing) -> types.Timing:
    return types.Timing(
        stages=tuple(types.StageTiming(stage=stage.stage, seconds=stage.seconds) for stage in timing.stages),
        total_seconds=timing.total_seconds,
    )


def _unit(unit: explanation_pb2.Unit) -> types.Unit:
    return types.Unit(
        text=unit.text,
        token_start=unit.token_start,
        token_end=unit.token_end,
        char_start=unit.char_start,
        char_end=unit.char_end,
        segment=unit.segment,
        special=unit.special,
        box=_box(unit.box) if unit.HasField("box") else None,
    )


def _box(box: explanation_pb2.Box) -> types.Box:
    return types.Box(left=box.left, top=box.top, right=box.right, bottom=box.bottom)


def _effect(effect: explanation_pb2.Effect) -> types.Effect:
    return types.Effect(unit=effect.unit, effect=effect.effect, standard_error=effect.standard_error)


def _decision_flip(flip: explanation_pb2.DecisionFlip) -> types.DecisionFlip:
    return types.DecisionFlip(
        found=flip.found, units=tuple(flip.units), margins=tuple(flip.margins), sets_tried=flip.sets_tried
    )


def _attribution(attribution: explanation_pb2.Attribution) -> types.Attribution:
    return types.Attribution(
        map=enums.MapKind(attribution.map),
        scores=tuple(attribution.scores),
        class_specific=attribution.class_specific,
        dropped_mass=attribution.dropped_mass,
        verdict=_verdict(attribution.verdict),
        note=attribution.note,
    )


def _verdict(verdict: explanation_pb2.Verdict) -> types.Verdict:
    return types.Verdict(
        flag=enums.Flag(verdict.flag),
        reason=enums.Reason(verdict.reason),
        scope=enums.Scope(verdict.scope),
        alignment=_alignment(verdict.alignment) if verdict.HasField("alignment") else None,
        calibration=_calibration(verdict.calibration) if verdict.HasField("calibration") else None,
        checks=tuple(_check(check) for check in verdict.checks),
        witnesses=tuple(_witness(witness) for witness in verdict.witnesses),
        policy_id=verdict.policy_id,
        policy_digest=verdict.policy_digest,
        thresholds=dict(sorted(verdict.thresholds.items())),
        jsd_from_uniform=verdict.jsd_from_uniform if verdict.HasField("jsd_from_uniform") else None,
        sides=tuple(
            types.SideVerdict(
                segment=side.segment,
                flag=enums.Flag(side.flag),
                reason=enums.Reason(side.reason),
                share=side.share,
                alignment=side.alignment if side.HasField("alignment") else None,
                reliability=side.reliability,
            )
            for side in verdict.sides
        ),
    )


def _alignment(alignment: explanation_pb2.Alignment) -> types.Alignment:
    return types.Alignment(
        value=alignment.value,
        width=alignment.width,
        reliability=alignment.reliability,
        removals=alignment.removals,
        p_up=alignment.p_up,
        p_low=alignment.p_low,
        per_operator=tuple(
            types.OperatorAlignment(operator=enums.RemovalOperator(part.operator), value=part.value, rows=part.rows)
            for part in alignment.per_operator
        ),
        ridge_lambda=alignment.ridge_lambda,
        prior=alignment.prior,
    )


def _check(check: explanation_pb2.CheckResult) -> types.CheckResult:
    return types.CheckResult(
        kind=enums.CheckKind(check.kind),
        outcome=enums.CheckOutcome(check.outcome),
        statistic=check.statistic,
        value=check.value if check.HasField("value") else None,
        threshold=check.threshold if check.HasField("threshold") else None,
        p_value=check.p_value if check.HasField("p_value") else None,
        rows=check.rows,
        seed=check.seed,
        detail=check.detail,
    )


def _witness(witness: explanation_pb2.Witness) -> types.Witness:
    return types.Witness(
        kind=enums.CheckKind(witness.kind),
        map=tuple(witness.map),
        jsd=witness.jsd if witness.HasField("jsd") else None,
        tvd=witness.tvd if witness.HasField("tvd") else None,
        removed_units=tuple(witness.removed_units),
        control_units=tuple(witness.control_units),
        detail=witness.detail,
        heads=tuple(types.Head(layer=head.layer, head=head.head) for head in witness.heads),
    )


def _thorough_policy(policy: explanation_pb2.ThoroughPolicy) -> types.ThoroughPolicy:
    return types.ThoroughPolicy(id=policy.id, digest=policy.digest, thresholds=dict(sorted(policy.thresholds.items())))


def _receipt(receipt: explanation_pb2.AuditReceipt) -> types.AuditReceipt:
    return types.AuditReceipt(
        state=enums.RecordState(receipt.state),
        mode=enums.RecordMode(receipt.mode),
        record_id=receipt.record_id,
        envelope_sha256=receipt.envelope_sha256,
        log_index=receipt.log_index if receipt.HasField("log_index") else None,
        note=receipt.note,
    )


def _calibration(calibration: explanation_pb2.CalibrationRef) -> types.CalibrationRef:
    return types.CalibrationRef(
        id=calibration.id,
        alpha=calibration.alpha if calibration.HasField("alpha") else None,
        confidence=calibration.confidence if calibration.HasField("confidence") else None,
        statement=calibration.statement,
        created=calibration.created.ToDatetime(UTC) if calibration.HasField("created") else None,
    )


def _model(model: model_pb2.Model) -> types.Model:
    return types.Model(
        ref=_model_ref(model.ref),
        family=model.family,
        task=enums.Task(model.task),
        labels=tuple(model.labels),
        layers=model.layers,
        heads=model.heads,
        max_tokens=model.max_tokens,
        max_units=model.max_units,
        max_characters=model.max_characters,
        max_rows=model.max_rows,
        explainable=model.explainable,
        self_tests=tuple(
            types.SelfTest(
                name=test.name, passed=test.passed, value=test.value, tolerance=test.tolerance, detail=test.detail
            )
            for test in model.self_tests
        ),
        maps=tuple(enums.MapKind(kind) for kind in model.maps),
        checks=tuple(enums.CheckKind(kind) for kind in model.checks),
        operators=tuple(enums.RemovalOperator(operator) for operator in model.operators),
        calibration=_calibration(model.calibration) if model.HasField("calibration") else None,
        threshold=Threshold(label=model.threshold.label, probability=model.threshold.probability)
        if model.HasField("threshold")
        else None,
        is_default=model.is_default,
        text_pairs=model.text_pairs,
        record=_record(model.record) if model.HasField("record") else None,
        missing_maps=tuple(
            types.MissingMap(map=enums.MapKind(missing.map), reason=missing.reason) for missing in model.missing_maps
        ),
        scope=enums.Scope(model.scope),
        modality=enums.Modality(model.modality),
        experimental=model.experimental,
    )


def _record(record: model_pb2.ModelRecord) -> types.ModelRecord:
    return types.ModelRecord(
        since=record.since.ToDatetime(UTC),
        maps=tuple(_map_record(found) for found in record.maps),
        promise=_promise(record.promise) if record.HasField("promise") else None,
    )


def _map_record(found: model_pb2.MapRecord) -> types.MapRecord:
    return types.MapRecord(
        map=enums.MapKind(found.map),
        requests=found.requests,
        flags={enums.Flag(count.flag): count.requests for count in found.flags},
        mean_alignment=found.mean_alignment if found.HasField("mean_alignment") else None,
        log_e_value=found.log_e_value,
        rechecked=tuple(
            types.RecheckedFlag(
                flag=enums.Flag(one.flag),
                rechecked=one.rechecked,
                wrong=one.wrong,
                lower=one.lower,
                upper=one.upper,
            )
            for one in found.rechecked
        ),
    )


def _promise(promise: model_pb2.KeptPromise) -> types.KeptPromise:
    return types.KeptPromise(
        alpha=promise.alpha,
        answers=promise.answers,
        wrong=promise.wrong,
        lower_limit=promise.lower_limit,
        broken=promise.broken,
        since=promise.since.ToDatetime(UTC) if promise.HasField("since") else None,
    )
