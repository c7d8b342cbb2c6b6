"""Models whose weights are written down are what they claim to be."""

from __future__ import annotations

import pytest

from rollcall.studies.flag.families import written
from rollcall.studies.flag.families.base import Family, unmet
from rollcall.studies.flag.families.texts import chance_of, drawn
from tests.unit.studies.flag.conftest import ByName

SEEDS = range(3)


@pytest.mark.parametrize("family", written.FAMILIES, ids=lambda family: family.name)
def test_a_written_model_is_what_its_family_claims(built: ByName, family: Family) -> None:
    """Its facts were measured on texts that it was not made for."""
    member = built(family.name)
    assert family.claims
    assert unmet(family.claims, member) == ()
    assert len(member.inputs) == len(member.evidence) == 40


def test_twins_get_the_same_inputs(built: ByName) -> None:
    """What differs between the null-space twins is the map alone."""
    assert built("null-space-aligned").inputs == built("null-space-decoy").inputs


def test_seeds_are_other_models() -> None:
    """Each seed has its own words, and its own order of saliences among them."""
    designs = [written.selector(written.SelectorRecipe(), seed) for seed in SEEDS]
    assert len({design.pieces for design in designs}) == len(SEEDS)
    assert len({tuple(str(token) for token in design.design.tokens) for design in designs}) == len(SEEDS)


def test_what_is_looked_up_is_marked_as_evidence() -> None:
    """The word that asks and the word that holds its value, never a distractor."""
    lookup = written.key_lookup(written.LookupRecipe(), seed=0)
    for text in drawn(lookup.draw, 20, chance_of("test")):
        carried = [lookup.design.tokens[lookup.pieces.index(text.words[at])] for at in text.decisive]
        asked = {name.removeprefix("asks ") for token in carried for name in token if name.startswith("asks ")}
        held = {name.removeprefix("has ") for token in carried for name in token if name.startswith("has ")}
        assert len(carried) == 2
        assert asked == held
        assert any(token.get("evidence") == 2 * text.label - 1 for token in carried)
