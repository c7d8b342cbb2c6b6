"""The gradient search for other attention with the same prediction, on real models of every family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rollcall.backends.base import BiasedAttention, variants
from rollcall.domain.compute import Job, Search
from rollcall.domain.decision import Decision, Task
from rollcall.domain.distances import jensen_shannon
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import Floats, MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.engine.adversary import AdversarySearch
from tests.harness import serving
from tests.tiny import FAMILIES, OTHERS, TEXT, Tiny, Zoo

TOLERANCE = 0.01


@pytest.fixture(scope="module", params=[*FAMILIES, *OTHERS])
def model(request: pytest.FixtureRequest, zoo: Zoo) -> Tiny:
    """One tiny model per family."""
    return zoo[request.param]


def searched(model: Tiny, kind: MapKind, steps: int = 15) -> tuple[AdversarySearch, Encoding, Floats, Floats]:
    """A finished search, the input, its logits and its map."""
    encoding = model.backend.encode(TextInput(text=TEXT))
    zero = np.zeros((model.backend.shape.layers, model.backend.shape.heads, encoding.length))
    (base,) = model.engine().run("tiny", variants(encoding, [Row(edit=AttentionEdit.BIASED, bias=zero)]))
    search = Search(
        kind=kind,
        original=base.maps[kind],
        logits=base.logits,
        decision=Decision(task=Task.SINGLE_LABEL, target=int(base.logits.argmax())),
        tolerance=TOLERANCE,
        restarts=4,
        steps=steps,
        step_size=0.5,
        seed=3,
    )
    found = AdversarySearch(
        backend=model.backend, encoding=encoding, options=MapOptions(), search=search, first=0, count=4
    )
    for _ in range(steps):
        found.step()
    return found, encoding, base.logits, base.maps[kind]


@pytest.mark.parametrize("kind", [MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT])
def test_proposals_are_confirmed_by_fresh_forwards(model: Tiny, kind: MapKind) -> None:
    """What a restart remembers is what a row under its bias gives: as far away, with the prediction as near."""
    found, encoding, logits, original = searched(model, kind)
    proposed = found.proposed()
    assert proposed
    rows = model.engine().run("tiny", variants(encoding, [Row(edit=AttentionEdit.BIASED, bias=b) for b in proposed]))
    decision = found.search.decision
    claimed = [best for best, bias in zip(found.best, found.found, strict=True) if bias is not None]
    for row, best in zip(rows, claimed, strict=True):
        assert float(jensen_shannon(row.maps[kind], original)) == pytest.approx(best, abs=1e-4)
        assert decision.tvd(logits, row.logits) <= TOLERANCE
        assert not decision.flipped(logits, row.logits)


def test_searching_on_finds_more(zoo: Zoo) -> None:
    """Steps only ever add: the best of a longer search is at least that of a shorter one, and of a first guess."""
    best = [max(searched(zoo["bert"], MapKind.RAW_ATTENTION, steps)[0].best) for steps in (1, 5, 20)]
    assert best == sorted(best)
    assert best[-1] > best[0]


def test_the_same_seed_searches_the_same_way(zoo: Zoo) -> None:
    """A witness can be found again."""
    first, second = (searched(zoo["bert"], MapKind.RAW_ATTENTION, 4)[0] for _ in range(2))
    assert first.best == second.best


def test_restarts_are_the_same_in_any_batch(zoo: Zoo) -> None:
    """In one batch or one by one, each restart finds the same, up to rounding."""
    together, encoding, _, _ = searched(zoo["bert"], MapKind.RAW_ATTENTION, 4)
    for number, best in enumerate(together.best):
        alone = AdversarySearch(
            backend=zoo["bert"].backend,
            encoding=encoding,
            options=MapOptions(),
            search=together.search,
            first=number,
            count=1,
        )
        for _ in range(4):
            alone.step()
        assert alone.best == pytest.approx([best], abs=1e-3)


def test_a_restart_that_meets_no_numbers_keeps_no_other_from_moving(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the model answers NaN under one bias, the other restarts find what they find without it."""
    backend = zoo["bert"].backend
    usual = searched(zoo["bert"], MapKind.RAW_ATTENTION, 4)[0]
    biased = backend.biased

    def spoiled(encoding: Encoding, bias: torch.Tensor) -> BiasedAttention:
        attended = biased(encoding, bias)
        factor = torch.ones_like(attended.logits)
        factor[1] = torch.nan
        return replace(attended, logits=attended.logits * factor)

    monkeypatch.setattr(backend, "biased", spoiled)
    found = searched(zoo["bert"], MapKind.RAW_ATTENTION, 4)[0]
    assert found.found[1] is None
    others = [0, 2, 3]
    assert [found.best[i] for i in others] == [usual.best[i] for i in others]


def test_a_search_is_one_turn_for_each_step_and_tells_of_it(zoo: Zoo) -> None:
    """Everything that was searched is proposed, and told in the rows that it is worth."""
    model = zoo["bert"]
    search = searched(model, MapKind.RAW_ATTENTION, 1)[0].search
    told: list[int] = []
    with serving(model.loaded) as house:
        dispatcher = house.dispatcher
        encoding = model.backend.encode(TextInput(text=TEXT * 12))
        original = np.full(len(encoding.units), 1 / len(encoding.units))
        wanted = replace(search, original=original, steps=2)
        job = Job(arrived=dispatcher.clock())
        searching = dispatcher.search(job, "0", encoding, wanted, MapOptions(), told.append)
        proposed = house.runner.run(searching)
    assert sum(told) == wanted.rows
    assert len(told) >= 2
    assert len(proposed) <= 4
    assert all(bias.shape[2] == encoding.length for bias in proposed)


def test_no_parameter_gets_a_gradient(zoo: Zoo) -> None:
    """The model that serves predictions is as it was."""
    model = zoo["bert"]
    before = [parameter.clone() for parameter in model.backend._model.parameters()]
    searched(model, MapKind.ATTENTION_ROLLOUT, 2)
    after = list(model.backend._model.parameters())
    assert all(parameter.grad is None for parameter in after)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
