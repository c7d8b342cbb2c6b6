"""What a family claims, and where evidence lies among units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rollcall.domain.inputs import TextInput, Unit
from rollcall.studies.flag.families.base import Member, recipe_digest, units_within, unmet

MEMBER = Member(
    family="any",
    seed=0,
    directory=Path("nowhere"),
    inputs=(TextInput(text="a bc"),),
    evidence=((),),
    accuracy=0.9,
    facts={"share": 0.5},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A recipe of one number."""

    number: int


def test_a_model_that_keeps_every_claim_lacks_nothing() -> None:
    """The bounds belong to what is allowed."""
    assert unmet({"accuracy": (0.9, 1.0), "share": (0.0, 0.5)}, MEMBER) == ()


def test_each_broken_claim_is_said_with_its_number() -> None:
    """Whoever reads the report sees what failed, and by how much."""
    found = unmet({"accuracy": (0.95, 1.0), "share": (0.0, 0.1)}, replace(MEMBER, accuracy=0.5))
    assert found == ("accuracy is 0.5, not within 0.95 and 1", "share is 0.5, not within 0 and 0.1")


def test_a_fact_that_is_no_number_keeps_no_claim() -> None:
    """NaN is not within any bounds."""
    assert unmet({"share": (0.0, 1.0)}, replace(MEMBER, facts={"share": float("nan")}))


def test_units_are_within_a_span_that_touches_one_of_their_characters() -> None:
    """Neighbours that only meet the span's edge are not."""
    units = [
        Unit(text="", token_start=i, token_end=i + 1, char_start=start, char_end=end, segment=0)
        for i, (start, end) in enumerate(((0, 2), (3, 6), (6, 7), (8, 9)))
    ]
    assert units_within([(4, 6)], units) == {1}
    assert units_within([(0, 1), (5, 7)], units) == {0, 1, 2}
    assert units_within([], units) == frozenset()


def test_a_digest_names_family_and_recipe() -> None:
    """A model is not taken for that of another family, nor for one made with other numbers."""
    digests = {recipe_digest(name, Recipe(number=number)) for name in ("a", "b") for number in (1, 2)}
    assert len(digests) == 4
    assert recipe_digest("a", Recipe(number=1)) in digests
