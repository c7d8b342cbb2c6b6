"""Models are built once, kept whole, and found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rollcall.models.loading import load_model
from rollcall.studies.flag.families.base import Build, Family, Member
from rollcall.studies.flag.members import FAMILIES, LEAST_INPUTS, member
from tests.unit.studies.flag.conftest import ByName, family_of

QUICK_LAYERS = {1, 2, 3}


def counting(build: Build, calls: list[int]) -> Build:
    """The same building, noted down by number of inputs."""

    def building(seed: int, inputs: int, data: Path | None, directory: Path) -> Member:
        calls.append(inputs)
        return build(seed, inputs, data, directory)

    return building


@pytest.fixture
def selector() -> tuple[Family, list[int]]:
    """A family that is quick to build, and for how many inputs it was."""
    calls: list[int] = []
    family = family_of("selector")
    return replace(family, build=counting(family.build, calls)), calls


def test_names_and_digests_are_unique() -> None:
    """No two families share a place in the cache."""
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert len({family.digest for family in FAMILIES}) == len(FAMILIES)


def test_the_quick_tier_needs_no_data_and_comes_first() -> None:
    """It runs on every change."""
    quick = [family.quick for family in FAMILIES]
    assert quick == sorted(quick, reverse=True)
    assert all(family.data is None for family in FAMILIES if family.quick)
    assert {family.layers for family in FAMILIES if family.quick} == QUICK_LAYERS


def test_a_kept_model_is_not_built_again(selector: tuple[Family, list[int]], tmp_path: Path) -> None:
    """Fewer inputs than were kept are the first of them."""
    family, calls = selector
    first = member(family, seed=0, inputs=20, data=None, cache=tmp_path)
    again = member(family, seed=0, inputs=5, data=None, cache=tmp_path)
    assert calls == [LEAST_INPUTS]
    assert again == replace(first, inputs=first.inputs[:5], evidence=first.evidence[:5])


def test_more_inputs_than_were_kept_begin_with_those(selector: tuple[Family, list[int]], tmp_path: Path) -> None:
    """The model is the same one, and nothing else is left in the cache."""
    family, calls = selector
    few = member(family, seed=0, inputs=LEAST_INPUTS, data=None, cache=tmp_path)
    many = member(family, seed=0, inputs=LEAST_INPUTS + 10, data=None, cache=tmp_path)
    assert calls == [LEAST_INPUTS, LEAST_INPUTS + 10]
    assert many.inputs[:LEAST_INPUTS] == few.inputs
    assert many.facts == few.facts
    assert [path.name for path in (tmp_path / "selector").iterdir()] == [f"{family.digest}-0"]


def test_another_recipe_is_another_model(selector: tuple[Family, list[int]], tmp_path: Path) -> None:
    """A model kept under another digest does not count."""
    family, calls = selector
    for digest in (family.digest, "0" * 16):
        member(replace(family, digest=digest), seed=0, inputs=5, data=None, cache=tmp_path)
    assert len(calls) == 2


def test_other_data_are_another_model(selector: tuple[Family, list[int]], tmp_path: Path) -> None:
    """A file that changed is noticed; one that was only touched is the same."""
    family, calls = selector
    data = tmp_path / "data"
    data.mkdir()
    for text in ("label\ttext\n", "label\ttext\n", "label\tsentence\n"):
        (data / "train.tsv").write_text(text, encoding="utf-8")
        member(replace(family, data="any"), seed=0, inputs=5, data=data, cache=tmp_path / "cache")
    assert len(calls) == 2


def test_a_building_that_fails_leaves_nothing(selector: tuple[Family, list[int]], tmp_path: Path) -> None:
    """The next attempt starts afresh."""

    def failing(seed: int, inputs: int, data: Path | None, directory: Path) -> Member:
        family.build(seed, inputs, data, directory)
        raise RuntimeError("interrupted")

    family, _ = selector
    with pytest.raises(RuntimeError, match="interrupted"):
        member(replace(family, build=failing), seed=0, inputs=5, data=None, cache=tmp_path)
    assert list((tmp_path / "selector").iterdir()) == []


def test_a_family_on_a_data_set_says_which_it_needs(tmp_path: Path) -> None:
    """Rather than fail in the middle."""
    with pytest.raises(ValueError, match="family trec needs the directory of the data set trec"):
        member(family_of("trec"), seed=0, inputs=5, data=None, cache=tmp_path)


@pytest.mark.parametrize("name", ["selector", "key-lookup", "ignoring"])
def test_the_service_loads_a_model_and_its_self_tests_pass(built: ByName, name: str) -> None:
    """What a study measures is what would be served."""
    assert load_model(built(name).directory, device="cpu").failed == ()
