"""The service itself finds nothing to decide on the models that leave nothing to decide."""

from __future__ import annotations

import pytest

from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import Flag, Reason
from rollcall.models.loading import load_model
from rollcall.studies.flag.families.base import Undecidable
from tests.harness import serving, verdict_of
from tests.unit.studies.flag.conftest import ByName, family_of

EVERY_MAP = (MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT, MapKind.NORM_ROLLOUT, MapKind.GRADIENT_ROLLOUT)
ATTENTION = tuple(kind for kind in EVERY_MAP if kind.attention_only)


@pytest.mark.parametrize(
    ("name", "undecidable", "kinds", "reasons"),
    [
        ("constant", Undecidable.EVERYTHING, EVERY_MAP, {Reason.NO_EFFECT}),
        ("one-unit", Undecidable.EVERYTHING, EVERY_MAP, {Reason.FLAT_MAP, Reason.LOW_POWER}),
        ("flat", Undecidable.ATTENTION, ATTENTION, {Reason.FLAT_MAP}),
    ],
)
def test_what_must_be_inconclusive_is(
    built: ByName, name: str, undecidable: Undecidable, kinds: tuple[MapKind, ...], reasons: set[Reason]
) -> None:
    """On several inputs, for every map that the family says so of, and for a reason that names what is wrong."""
    member = built(name)
    assert family_of(name).undecidable is undecidable
    with serving(load_model(member.directory)) as harness:
        for one in member.texts[:4]:
            explanation = harness.explain(one.text)
            verdicts = [verdict_of(explanation, kind) for kind in kinds]
            assert {verdict.flag for verdict in verdicts} == {Flag.INCONCLUSIVE}
            assert {verdict.reason for verdict in verdicts} <= reasons


def test_the_same_attention_decides_where_there_is_something_to_decide(built: ByName) -> None:
    """The selector of which they are variants has its attention found FAITHFUL."""
    member = built("selector")
    with serving(load_model(member.directory)) as harness:
        verdicts = [verdict_of(harness.explain(one.text), MapKind.RAW_ATTENTION) for one in member.texts[:4]]
    assert {verdict.flag for verdict in verdicts} == {Flag.FAITHFUL}
