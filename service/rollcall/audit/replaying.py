"""Asks a record's question again: same weights, policy and seed, from the sealed input or one that is shown to be it.

What it takes to answer is handed in; nothing here knows of models or devices. One replay runs at a time, so that
auditors do not stand in the way of callers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rollcall.audit import queries
from rollcall.audit.archive import Archive
from rollcall.audit.comparing import Compared, Difference, Outcome, compare, obstacles, surroundings
from rollcall.audit.events import EventKind
from rollcall.audit.explanations import explanation
from rollcall.audit.parts import INPUT, REFERENCES, SALT, input_part, read_input
from rollcall.audit.record import DECISION, prediction
from rollcall.audit.records import open_parts
from rollcall.audit.sealing import commitment
from rollcall.domain.errors import Blocked, InvalidInput
from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted, PredictRequest
from rollcall.domain.identity import Identity
from rollcall.domain.inputs import ModelInput, Target, TextInput, Threshold, TokensInput, WordRef
from rollcall.domain.maps import HeadFusion, MapKind, MapOptions
from rollcall.domain.model import ModelCard
from rollcall.domain.recording import AuditChoice
from rollcall.domain.verdicts import CheckLevel


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay came to, and the index of the entry that says so."""

    compared: Compared
    log_index: int


@dataclass(slots=True, kw_only=True)
class Replayer:
    """Asks again. `work_out` answers without recording, `explain` as for any caller; `policies` are digests by id."""

    archive: Archive
    models: Callable[[], tuple[ModelCard, ...]]
    predict: Callable[[PredictRequest], Awaitable[Predicted]]
    work_out: Callable[[ExplainRequest], Awaitable[Explanation]]
    explain: Callable[[ExplainRequest], Awaitable[Explanation]]
    policies: Mapping[str, str]
    software: Mapping[str, str]
    told: Callable[[str], None] = lambda _: None
    """Hears what each replay came to."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def replay(self, name: str, given: ModelInput | None, reason: str, actor: str) -> Replayed:
        """Work a record out again and compare. `given` is its input, where the record does not hold it.

        Raises RecordNotFound, InvalidInput where another input is given, LogUnavailable, and what answering does.
        """
        async with self._turn:
            record_id, body, found, _ = await asyncio.to_thread(self._opened, name, given)
            card = self._card(body)
            in_the_way = obstacles(body, card, self.policies)
            if found is None:
                in_the_way.append(Difference(what="input", recorded="not held, or erased", now="not given"))
            if in_the_way or card is None or found is None:
                compared = Compared(outcome=Outcome.NOT_REPLAYABLE, differences=tuple(in_the_way))
            else:
                now = await self._answer(body, card, found)
                around = surroundings(body, card, self.software)
                compared = compare({name: body[name] for name in now}, now, around)
            index = await asyncio.to_thread(self._log, record_id, compared, reason, actor)
        self.told(compared.outcome.value)
        return Replayed(compared=compared, log_index=index)

    async def explain_decision(
        self, name: str, given: ModelInput | None, level: CheckLevel | None, reason: str, actor: str
    ) -> Explanation:
        """Explain a decision that was not explained, on the weights that decided; the answer's record says so.

        Raises RecordNotFound, Blocked where it cannot be asked any more, InvalidInput, LogUnavailable, and what
        explaining does.
        """
        record_id, body, found, names = await asyncio.to_thread(self._opened, name, given)
        if body["type"] != DECISION:
            message = "the record is of an explanation; ReplayRecord works it out again"
            raise Blocked("type", message)
        card = self._card(body)
        if card is None:
            raise Blocked("model", f"no model with the digest {body['model']['digest']} is served here")
        if found is None:
            message = "the record does not hold the input, or is erased: give the input"
            raise Blocked("input", message)
        if given is None and not self.archive.unmasked:
            raise Blocked(
                "masked", "here texts are shown masked only, and an explanation quotes its input: give the input"
            )
        await asyncio.to_thread(self._log_access, record_id, reason, actor)
        return await self.explain(
            ExplainRequest(
                **_shared(body, card, found),
                decision_ref=names.get("decision_ref", ""),
                subject_ref=names.get("subject_ref", ""),
                reported_label=body["request"]["reported"]["label"],
                reported_score=_number(body["request"]["reported"]["score"]),
                check_level=level,
                retrospective_of=record_id,
                caller=Identity(name="", tenant=body["governance"].get("tenant", ""), roles=frozenset()),
            )
        )

    # --- beside the event loop ---------------------------------------------------------------------------------------

    def _opened(
        self, name: str, given: ModelInput | None
    ) -> tuple[str, dict[str, Any], ModelInput | None, dict[str, str]]:
        """Id, envelope, input and names of a record; no input where none is held or given."""
        with self.archive.reading() as connection:
            record_id = self.archive.find(connection, name)
            kept = queries.kept(connection, record_id)
            body: dict[str, Any] = json.loads(kept.envelope)
            sealed = {each.kind for each in kept.payloads} if kept.wrapped_key is not None else set[str]()
            wanted = sorted(sealed & {INPUT, REFERENCES, SALT})
            parts = open_parts(self.archive, connection, record_id, wanted) if wanted else {}
        names: dict[str, str] = json.loads(parts[REFERENCES]) if REFERENCES in parts else {}
        given = _with_word(given, body["request"].get("word"))
        if given is None:
            return record_id, body, read_input(parts[INPUT]) if INPUT in parts else None, names
        if SALT not in parts:
            return record_id, body, None, names
        wanted_commitment = next(each for each in body["integrity"]["parts"] if each["kind"] == INPUT)["commitment"]
        if commitment(parts[SALT], INPUT, input_part(given)) != wanted_commitment:
            raise InvalidInput.of("input", "is not the one that the record is about")
        return record_id, body, given, names

    def _log(self, record_id: str, compared: Compared, reason: str, actor: str) -> int:
        with self.archive.acting() as acting:
            return acting.log(
                self.archive.event(
                    acting.connection,
                    EventKind.REPLAY,
                    actor,
                    record_id=record_id,
                    code=compared.outcome.value,
                    details={"differences": [each.what for each in compared.differences]},
                    note=reason,
                )
            )

    def _log_access(self, record_id: str, reason: str, actor: str) -> None:
        with self.archive.acting() as acting:
            acting.log(
                self.archive.event(
                    acting.connection,
                    EventKind.ACCESS,
                    actor,
                    record_id=record_id,
                    code="explain",
                    details={"parts": [INPUT]},
                    note=reason,
                )
            )

    def _card(self, body: Mapping[str, Any]) -> ModelCard | None:
        digest = body["model"]["digest"]
        return next((card for card in self.models() if card.ref.digest == digest), None)

    async def _answer(self, body: Mapping[str, Any], card: ModelCard, found: ModelInput) -> dict[str, Any]:
        """What the envelope would say now."""
        if body["type"] == DECISION:
            predicted = await self.predict(PredictRequest(**_shared(body, card, found)))
            return {"prediction": prediction(predicted.prediction)}
        answer = await self.work_out(_explain_request(body, card, found))
        now = {"prediction": prediction(answer.prediction), "explanation": explanation(answer)}
        now["explanation"]["attention"] = body["explanation"]["attention"]  # which is not asked for again
        return now


def _with_word(given: ModelInput | None, asked: Mapping[str, int] | None) -> ModelInput | None:
    """What is given for a record's input, about the word that the record names unless it names one itself."""
    if asked is None or not isinstance(given, (TextInput, TokensInput)) or given.word is not None:
        return given
    return replace(given, word=WordRef(**asked))


def _shared(body: Mapping[str, Any], card: ModelCard, found: ModelInput) -> dict[str, Any]:
    """What predictions and explanations ask."""
    request = body["request"]
    threshold = request["threshold"]
    return {
        "request_id": "",
        "model": card.ref.name,
        "revision": "",
        "input": found,
        "target": Target(target=request["target"], foil=request["foil"]),
        "threshold": None
        if threshold is None
        else Threshold(label=threshold["label"], probability=float(threshold["probability"])),
        "deadline": None,
    }


def _explain_request(body: Mapping[str, Any], card: ModelCard, found: ModelInput) -> ExplainRequest:
    """What was asked then, with what the server chose then."""
    request, options = body["request"], body["request"]["map_options"]
    told = body["explanation"]
    made = [each["map"] for each in (*told["maps"], *told["missing_maps"])]
    return ExplainRequest(
        **_shared(body, card, found),
        maps=tuple(MapKind(kind) for kind in made),
        primary_map=MapKind(body["verdict"]["map"]),
        map_options=MapOptions() if options is None else _options(options),
        check_level=CheckLevel(request["check_level"]),
        policy=body["policy"]["id"].partition("@")[0],
        max_rows=request["max_rows"],
        seed=int(told["seed"]),
        audit=AuditChoice.OFF,
    )


def _options(options: Mapping[str, Any]) -> MapOptions:
    return MapOptions(
        raw_layers=tuple(options["raw_layers"]),
        raw_heads=tuple(options["raw_heads"]),
        rollout_fusion=HeadFusion(options["rollout_fusion"]),
        rollout_start_layer=options["rollout_start_layer"],
        integration_points=options["integration_points"],
    )


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)
