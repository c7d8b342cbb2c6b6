"""A record that is worked out again says whether it comes to the same, and what stands in the way where it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from rollcall.audit.archive import Archive
from rollcall.audit.comparing import Outcome
from rollcall.audit.database import Database
from rollcall.audit.erasing import Ground, erase_record
from rollcall.audit.records import happened
from rollcall.audit.replaying import Replayer
from rollcall.domain.errors import Blocked, InvalidInput
from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted, PredictRequest
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import MapKind
from rollcall.domain.model import ModelCard
from rollcall.domain.recording import RecordMode
from rollcall.domain.verdicts import CheckLevel, Flag
from tests.unit.audit import samples
from tests.unit.audit.archives import ANNA, check, open_archive
from tests.unit.edge import samples as answers

GIVEN = TextInput(text=samples.TEXT, text_pair="and her neighbour")
WHY = "a spot check"


@dataclass(kw_only=True)
class House:
    """Answers with what it is told, and remembers what it was asked."""

    card: ModelCard = field(default_factory=answers.card)
    explanation: Explanation = field(default_factory=answers.explanation)
    predicted: Predicted = field(default_factory=answers.predicted)
    asked: list[PredictRequest] = field(default_factory=list)
    recorded: list[ExplainRequest] = field(default_factory=list)

    async def predict(self, request: PredictRequest) -> Predicted:
        """Predict."""
        self.asked.append(request)
        return self.predicted

    async def work_out(self, request: ExplainRequest) -> Explanation:
        """Explain, off the record."""
        self.asked.append(request)
        return self.explanation

    async def explain(self, request: ExplainRequest) -> Explanation:
        """Explain, on the record."""
        self.recorded.append(request)
        return self.explanation


@pytest.fixture
def archive(database: Database) -> Iterator[Archive]:
    """Keep an explanation in full, one by its digests alone, and a decision."""
    records = (
        samples.accepted(0),
        samples.accepted(1, RecordMode.DIGEST_ONLY),
        samples.recorded(samples.decided(subject_ref=samples.SUBJECT), 2),
    )
    with open_archive(database, *records) as opened:
        yield opened


DECIDED = samples.recorded(samples.decided(subject_ref=samples.SUBJECT), 2).record_id


def replayer(archive: Archive, house: House) -> Replayer:
    """Put it together."""
    verdict = house.explanation.primary.verdict
    return Replayer(
        archive=archive,
        models=lambda: (house.card,),
        predict=house.predict,
        work_out=house.work_out,
        explain=house.explain,
        policies={verdict.policy_id: verdict.policy_digest},
        software=samples.WHERE.software,
    )


async def test_the_same_answer_is_exact(archive: Archive) -> None:
    """What is asked is what was asked, with the seed, maps and policy of then; the log says what came of it."""
    house = House()
    replayed = await replayer(archive, house).replay("e-0", None, WHY, ANNA)
    assert (replayed.compared.outcome, replayed.compared.differences) == (Outcome.EXACT, ())
    (asked,) = house.asked
    then = samples.explained().request
    assert isinstance(asked, ExplainRequest)
    assert (asked.input, asked.target, asked.threshold) == (then.input, then.target, then.threshold)
    assert (asked.seed, asked.policy, asked.check_level) == (2**64 - 1, "standard", CheckLevel.STANDARD)
    assert asked.primary_map is MapKind.RAW_ATTENTION
    with archive.reading() as connection:
        body = json.loads(happened(connection)[0].body)
    assert (body["type"], body["code"], body["actor"]) == ("replay", "exact", ANNA)
    assert check(archive).problems == []


async def test_small_differences_are_tolerated_and_large_ones_said(archive: Archive) -> None:
    """A thousandth is rounding; more is not, and is named; the software that differs is named, too."""
    house = House()
    prediction = house.explanation.prediction
    made = replayer(archive, house)
    for by, outcome in ((1e-5, Outcome.WITHIN_TOLERANCE), (0.1, Outcome.DIFFERENT)):
        moved = replace(prediction, probabilities=prediction.probabilities + np.array([by, -by]))
        house.explanation = replace(house.explanation, prediction=moved)
        compared = (await made.replay("e-0", None, WHY, ANNA)).compared
        assert compared.outcome is outcome
        assert compared.differences[0].what == "prediction.probabilities.0"
    made.software = {**samples.WHERE.software, "torch": "9.0"}
    compared = (await made.replay("e-0", None, WHY, ANNA)).compared
    assert ("software.torch", "none", "9.0") in {(d.what, d.recorded, d.now) for d in compared.differences}


async def test_another_flag_is_said_first(archive: Archive) -> None:
    """A verdict that changed is what a replay is for."""
    house = House()
    house.explanation = replace(
        house.explanation,
        attributions=(
            answers.attribution(MapKind.RAW_ATTENTION, answers.verdict(Flag.FAITHFUL)),
            house.explanation.attributions[1],
        ),
    )
    compared = (await replayer(archive, house).replay("e-0", None, WHY, ANNA)).compared
    assert compared.outcome is Outcome.VERDICT_CHANGED
    first = compared.differences[0]
    assert (first.what, first.recorded, first.now) == (
        "explanation.maps.raw_attention.verdict.flag",
        "inconclusive",
        "faithful",
    )


async def test_what_is_not_as_it_was_is_not_asked(archive: Archive) -> None:
    """Other weights, policy, calibration, precision or threshold: not replayable, and the model is not bothered."""
    house = House()
    made = replayer(archive, house)
    card = house.card
    for other, what in (
        (replace(card, ref=replace(card.ref, digest="sha256:" + "00" * 32)), "model.digest"),
        (replace(card, ref=replace(card.ref, dtype="bfloat16")), "model.dtype"),
        (replace(card, calibration=replace(card.calibration, id="c2")), "model.calibration"),
        (replace(card, threshold=None), "model.threshold"),
    ):
        house.card = other
        compared = (await made.replay("e-0", None, WHY, ANNA)).compared
        assert (compared.outcome, compared.differences[0].what) == (Outcome.NOT_REPLAYABLE, what)
    house.card, made.policies = card, {}
    compared = (await made.replay("e-0", None, WHY, ANNA)).compared
    assert (compared.outcome, compared.differences[0].what) == (Outcome.NOT_REPLAYABLE, "policy")
    assert house.asked == []


async def test_an_input_may_be_brought_and_must_be_the_one(archive: Archive) -> None:
    """A record that holds no text is replayed with the text that the caller brings, if it is the one."""
    house = House()
    made = replayer(archive, house)
    compared = (await made.replay("e-1", None, WHY, ANNA)).compared
    assert (compared.outcome, compared.differences[0].what) == (Outcome.NOT_REPLAYABLE, "input")
    assert (await made.replay("e-1", GIVEN, WHY, ANNA)).compared.outcome is Outcome.EXACT
    with pytest.raises(InvalidInput, match="input: is not the one"):
        await made.replay("e-1", TextInput(text=samples.TEXT), WHY, ANNA)
    erase_record(archive, "e-1", Ground.MISTAKE, WHY, ANNA)
    assert (await made.replay("e-1", GIVEN, WHY, ANNA)).compared.outcome is Outcome.NOT_REPLAYABLE


async def test_a_decision_is_replayed_and_explained(archive: Archive) -> None:
    """What was decided is predicted again; explaining it carries its names along and says which decision it is of."""
    house = House()
    made = replayer(archive, house)
    assert (await made.replay(DECIDED, None, WHY, ANNA)).compared.outcome is Outcome.EXACT
    await made.explain_decision(DECIDED, None, CheckLevel.THOROUGH, WHY, ANNA)
    (asked,) = house.recorded
    assert (asked.decision_ref, asked.subject_ref) == (samples.DECISION, samples.SUBJECT)
    assert (asked.retrospective_of, asked.check_level) == (DECIDED, CheckLevel.THOROUGH)
    assert (asked.input, asked.reported_label) == (GIVEN, "negative")
    with archive.reading() as connection:
        kinds = [json.loads(event.body)["type"] for event in happened(connection, record_id=DECIDED)]
    assert kinds == ["access", "replay"]
    with pytest.raises(Blocked, match="ReplayRecord"):
        await made.explain_decision("e-0", None, None, WHY, ANNA)
    archive.unmasked = False
    with pytest.raises(Blocked, match="shown masked only"):
        await made.explain_decision(DECIDED, None, None, WHY, ANNA)
    archive.unmasked = True
    house.card = replace(house.card, ref=replace(house.card.ref, digest="sha256:" + "00" * 32))
    with pytest.raises(Blocked, match="no model with the digest"):
        await made.explain_decision(DECIDED, None, None, WHY, ANNA)
    assert len(house.recorded) == 1
