"""Maps that come only where they are asked for, through a whole pipeline around a tiny model: each with its flag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rollcall.domain.maps import DEFAULT_MAPS, MapKind
from rollcall.domain.verdicts import CheckLevel, Flag
from rollcall.models.loading import load_model
from tests.harness import Harness, ask, serving
from tests.tiny import TEXT, make_model

ON_REQUEST = [kind for kind in MapKind if kind not in DEFAULT_MAPS]


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """Serve a tiny BERT."""
    directory: Path = make_model("bert", tmp_path_factory.mktemp("bert"), classes=2)
    with serving(load_model(directory)) as made:
        yield made


@pytest.mark.parametrize("kind", ON_REQUEST)
def test_every_map_carries_its_flag(harness: Harness, kind: MapKind) -> None:
    """A map on request is judged on the rows that judge the others, and may be the one whose flag is the answer's."""
    answer = harness.explain(ask(TEXT, maps=(kind,), primary_map=kind))
    usual = harness.explain(ask(TEXT))
    assert answer.primary.map.kind is kind
    scores = answer.primary.map.scores
    assert scores.min() >= 0
    assert scores.sum() == pytest.approx(1)
    assert answer.primary.verdict.flag in {Flag.FAITHFUL, Flag.UNFAITHFUL, Flag.INCONCLUSIVE}
    assert [a.map.kind for a in usual.attributions] == list(DEFAULT_MAPS)
    for attribution in answer.attributions:
        same = [a for a in usual.attributions if a.map.kind is attribution.map.kind]
        assert all(np.array_equal(attribution.map.scores, a.map.scores) for a in same)


@pytest.mark.parametrize("kind", ON_REQUEST)
def test_the_same_question_gets_the_same_map(harness: Harness, kind: MapKind) -> None:
    """Twice the same, to the last bit."""
    first, second = (harness.explain(ask(TEXT, maps=(kind,), primary_map=kind)).primary for _ in range(2))
    assert np.array_equal(first.map.scores, second.map.scores)
    assert (first.verdict.flag, first.verdict.alignment) == (second.verdict.flag, second.verdict.alignment)


@pytest.mark.parametrize("kind", [kind for kind in ON_REQUEST if kind is not MapKind.EFFECT])
def test_without_checks_it_is_a_map_without_a_claim(harness: Harness, kind: MapKind) -> None:
    """A map of the model's inside needs no check to be made; nobody then claims anything about it."""
    answer = harness.explain(ask(TEXT, maps=(kind,), primary_map=kind, check_level=CheckLevel.NONE))
    assert answer.primary.verdict.flag is Flag.NOT_CHECKED
