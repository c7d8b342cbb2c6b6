"""The catalog: which model a request means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollcall.domain.errors import InvalidInput, ModelNotFound, ModelNotReady
from rollcall.pipeline.catalog import Catalog, Entry
from tests.unit.pipeline.cards import named


def entry(name: str, revision: str = "") -> Entry:
    """An entry of a model without a calibration."""
    return Entry(card=named(name, revision), calibration=None)


TWO = Catalog(entries={"mood": entry("mood", "7"), "spam": entry("spam")}, default="mood")


def test_a_model_is_found_by_name_or_by_default() -> None:
    """A request gets the model that it names, and the default one if it names none."""
    assert TWO.resolve("spam").card.ref.name == "spam"
    assert TWO.resolve("").card.ref.name == "mood"
    assert TWO.resolve("", "7").card.ref.name == "mood"


def test_without_a_default_a_name_is_needed() -> None:
    """A server with several models and no default says which there are."""
    with pytest.raises(InvalidInput, match="mood, spam") as refusal:
        Catalog(entries=TWO.entries, default=None).resolve("")
    assert refusal.value.violations[0].field == "model"


def test_the_only_model_needs_no_name() -> None:
    """Also where nobody said that it is the default, as in a repository; not while a second one is loading."""
    catalog = Catalog(entries={"a": entry("a")}, default=None)
    assert catalog.resolve("").card.ref.name == "a"
    with pytest.raises(InvalidInput):
        replace(catalog, loading=frozenset({"b"})).resolve("")
    assert catalog.without_model("a").usual is None


def test_unknown_models_are_not_found() -> None:
    """An unknown name is repeated only as far as it is a name, and the known ones are listed."""
    with pytest.raises(ModelNotFound, match="available: mood, spam") as refusal:
        TWO.resolve("m" * 10_000)
    assert refusal.value.name == "m" * 64


def test_another_revision_is_not_found() -> None:
    """Who pins a revision gets that one or none."""
    with pytest.raises(ModelNotFound, match="serving revision 7"):
        TWO.resolve("mood", "8")
    with pytest.raises(ModelNotFound, match=r"serving revision \(none\)"):
        TWO.resolve("spam", "8")


def test_a_loading_model_is_not_ready_until_it_is_loaded() -> None:
    """A model that is loading asks to come back; once loaded it serves."""
    starting = Catalog(entries={}, default="mood", loading=frozenset({"mood", "spam"}))
    with pytest.raises(ModelNotReady) as refusal:
        starting.resolve("")
    assert refusal.value.retry_after > 0
    loaded = starting.with_model(entry("mood", "7"))
    assert loaded.resolve("").card.ref.revision == "7"
    with pytest.raises(ModelNotReady):
        loaded.resolve("spam")
    with pytest.raises(ModelNotReady):
        starting.resolve("mood")
