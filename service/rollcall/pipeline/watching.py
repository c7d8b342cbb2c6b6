"""Watches the answers that go out: pools what they say, and has some of them checked again.

It hears of an answer when that answer stands, and can change nothing about it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rollcall.domain.decision import Decision
from rollcall.domain.explanation import Explanation
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import MapKind
from rollcall.domain.model import ModelCard
from rollcall.domain.policy import Policy
from rollcall.domain.seeds import derived_seed
from rollcall.domain.verdicts import Flag, Reason
from rollcall.monitor.record import Answer, Identity, ModelRecord
from rollcall.monitor.sampling import Sampler
from rollcall.pipeline.rechecking import Ended, Recheck
from rollcall.telemetry import logs
from rollcall.verdict.truth import Truth

_log = logging.getLogger(__name__)

NOT_PROMISED = (Reason.NO_EFFECT, Reason.BUDGET)
"""A calibration speaks of inputs with reach, and of checks that were run to their end."""


class WatchTelemetry(Protocol):
    """What watching tells."""

    def pooled(
        self, model: str, kind: MapKind, *, requests: int, mean_alignment: float | None, log_e_value: float
    ) -> None:
        """A map of a model came to this over so many requests."""
        ...

    def promise_checked(self, model: str, *, broken: bool) -> None:
        """Whether a model's flags are wrong more often than its calibration promises."""
        ...

    def flag_rechecked(self, model: str, kind: MapKind, flag: Flag, *, wrong: bool) -> None:
        """A flag of a map was checked again."""
        ...

    def recheck_ended(self, outcome: str) -> None:
        """A recheck was done, was dropped, or failed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What is known of a checked answer beside the explanation itself: what it takes to check it again.

    `first_look`: p_up of each map after the look that every request has. `calibrated_map`: the one whose flag is
    promised to be right; None means whichever is primary.
    """

    card: ModelCard
    encoding: Encoding = field(repr=False)
    decision: Decision
    policy: Policy
    first_look: Mapping[MapKind, float]
    calibrated_map: MapKind | None


@dataclass(slots=True, kw_only=True)
class Watch:
    """Records by model name. `policy` is the default one's digest: answers under others are not pooled with its."""

    sampler: Sampler
    policy: str
    telemetry: WatchTelemetry
    records: dict[str, ModelRecord] = field(default_factory=dict)
    cards: dict[str, ModelCard] = field(default_factory=dict)
    now: Callable[[], float] = time.time
    offer: Callable[[Recheck], None] = lambda _: None
    """Where answers to be checked again go; a `Rechecker`'s."""

    def serve(self, card: ModelCard) -> None:
        """Begin with a model: go on with its record if it is about the same thing, else begin a new one."""
        name, identity = card.ref.name, Identity.of(card)
        kept = self.records.get(name)
        self.cards[name] = card
        if kept is None or kept.identity != identity:
            self.records[name] = ModelRecord(identity=identity, since=int(self.now()))
        self._tell(name)

    def record(self, name: str) -> ModelRecord | None:
        """The record of a served model."""
        return self.records.get(name) if name in self.cards else None

    def answered(self, answered: Answered, explanation: Explanation) -> None:
        """Hear of an answer. Never raises: whatever goes wrong here is not the caller's."""
        try:
            self._answered(answered, explanation)
        except Exception as error:  # noqa: BLE001 - the boundary between an answer and what is made of it
            logs.event(_log, logging.ERROR, "answer_not_watched", error=error, model=answered.card.ref.name)

    def _answered(self, answered: Answered, explanation: Explanation) -> None:
        card = answered.card
        key = self.sampler.key(card.ref.digest, answered.encoding)
        if answered.policy.digest != self.policy or not self.sampler.is_new(key):
            return
        name = card.ref.name
        record = self.records[name]
        for attribution in explanation.attributions:
            kind, verdict = attribution.map.kind, attribution.verdict
            alignment = verdict.alignment.value if verdict.alignment else None
            record = record.pooling(kind, verdict.flag, alignment, answered.first_look.get(kind))
        self.records[name] = record
        self._tell(name)
        if self.sampler.chooses(key):
            self.offer(self._recheck(answered, explanation, derived_seed(key, "recheck")))

    def _recheck(self, answered: Answered, explanation: Explanation, seed: int) -> Recheck:
        card, calibration, verdict = answered.card, answered.card.calibration, explanation.primary.verdict
        return Recheck(
            model=card.ref.name,
            key=card.ref.key,
            identity=Identity.of(card),
            explanation_id=explanation.explanation_id,
            encoding=answered.encoding,
            decision=answered.decision,
            weights={a.map.kind: a.map.scores for a in explanation.attributions},
            flags={a.map.kind: a.verdict.flag for a in explanation.attributions},
            primary=explanation.primary_map,
            promised=calibration.alpha is not None
            and verdict.calibration.id == calibration.id
            and verdict.reason not in NOT_PROMISED
            and len(explanation.units) > 1
            and _calibrated_question(answered, explanation),
            policy=answered.policy,
            noise=card.noise,
            seed=seed,
            answered_at=int(self.now()),
        )

    def rechecked(self, recheck: Recheck, truths: Mapping[MapKind, Truth]) -> None:
        """Hear what checking an answer again has found; forgotten if the model has changed meanwhile."""
        record = self.records.get(recheck.model)
        if record is None or record.identity != recheck.identity:
            return
        wrong = {kind: truth.contradicts(recheck.flags[kind], recheck.policy) for kind, truth in truths.items()}
        for kind, is_wrong in wrong.items():
            flag = recheck.flags[kind]
            record = record.rechecking(kind, flag, wrong=is_wrong)
            self.telemetry.flag_rechecked(recheck.model, kind, flag, wrong=is_wrong)
            if is_wrong:
                logs.event(
                    _log,
                    logging.WARNING,
                    "flag_was_wrong",
                    model=recheck.model,
                    explanation_id=recheck.explanation_id,
                    map=kind.value,
                    flag=flag.value,
                    alignment=round(truths[kind].alignment, 3),
                    omits_top_effect=truths[kind].omits_top_effect,
                )
        if recheck.promised:
            record = record.answering(Answer(at=recheck.answered_at, wrong=wrong.get(recheck.primary, False)))
        self.records[recheck.model] = record
        self._tell(recheck.model)

    def ended(self, outcome: Ended) -> None:
        """Hear of the end of a recheck."""
        self.telemetry.recheck_ended(outcome.value)

    def _tell(self, name: str) -> None:
        record, alpha = self.records[name], self.cards[name].calibration.alpha
        if alpha is not None:
            self.telemetry.promise_checked(name, broken=record.breaks(alpha))
        for kind, found in record.maps.items():
            pooled = found.pooled
            self.telemetry.pooled(
                name,
                kind,
                requests=pooled.requests,
                mean_alignment=pooled.mean_alignment,
                log_e_value=pooled.log_e,
            )


def _calibrated_question(answered: Answered, explanation: Explanation) -> bool:
    """Whether the question is the calibration's: why the model's own answer, by the map that was calibrated."""
    decision = answered.decision
    own_answer = decision.threshold is not None or decision.target == explanation.prediction.predicted
    return decision.foil is None and own_answer and answered.calibrated_map in {None, explanation.primary_map}
