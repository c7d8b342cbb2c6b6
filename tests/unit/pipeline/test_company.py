"""Real engine, real model, many callers: whoever else is being served, an answer stays what it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import numpy as np
import pytest

from rollcall.admission.gate import Gate
from rollcall.domain.errors import InvalidInput
from rollcall.domain.explanation import ExplainRequest, Explanation
from rollcall.domain.inputs import Target, TextInput, TokensInput
from rollcall.domain.verdicts import Alignment
from tests.harness import Harness, ask, serving
from tests.tiny import CORPUS, TEXT, Tiny

OTHERS = 32


@pytest.fixture
def house(bert: Tiny) -> Iterator[Harness]:
    """A pipeline with room for everybody."""
    with serving(bert.loaded) as harness:
        harness.pipeline.gate = Gate(max_in_flight=2 * OTHERS, share=1.0)
        yield harness


def company() -> list[ExplainRequest]:
    """Requests of every length and kind."""
    texts = [" ".join(CORPUS[i % len(CORPUS)].split()[: 2 + i % 9]) for i in range(OTHERS)]
    return [
        ask(
            text,
            input=TextInput(text=text * (1 + i % 3), text_pair="dull music" if i % 5 == 0 else None),
            target=Target(target=i % 3),
        )
        for i, text in enumerate(texts)
    ]


def numbers(explanation: Explanation) -> list[object]:
    """Every number that the verdicts rest on."""
    return [
        explanation.prediction.logits.tolist(),
        [(effect.effect, effect.standard_error) for effect in explanation.effects],
        explanation.rows,
        explanation.seed,
        explanation.decision_flip,
        explanation.recommended_map,
        *(
            (a.map.scores.tolist(), a.map.dropped_mass, a.verdict.flag, a.verdict.reason, a.verdict.alignment)
            for a in explanation.attributions
        ),
        *(
            (check.kind, check.outcome, check.value, check.p_value, check.rows)
            for a in explanation.attributions
            for check in a.verdict.checks
        ),
    ]


def test_the_verdict_is_the_same_alone_and_among_others(house: Harness) -> None:
    """The same request gives the same numbers to the last bit, alone and among 32 concurrent others, in any place."""
    alone = numbers(house.explain(TEXT))
    assert any(isinstance(part, Alignment) for row in alone if isinstance(row, tuple) for part in row)

    async def together() -> list[Explanation]:
        others = company()
        # The second one has less time than the first: it may not wait for its answer, and is worked out beside it.
        requests = [*others[:11], ask(TEXT), *others[11:], ask(TEXT, deadline=time.monotonic() + 3600)]
        return await asyncio.gather(*(house.pipeline.explain(request) for request in requests))

    found = house.runner.run(together())
    assert len(found) == OTHERS + 2
    assert numbers(found[11]) == alone
    assert numbers(found[-1]) == alone


def test_who_leaves_and_who_errs_changes_nothing_for_others(house: Harness) -> None:
    """Some leave in the middle, some send nonsense: the others get what they would have got."""
    alone = numbers(house.explain(TEXT))

    async def together() -> list[Explanation | BaseException]:
        until = [time.monotonic() + 3600 - number for number in range(3)]  # less and less time: nobody shares an answer
        staying = [asyncio.create_task(house.pipeline.explain(ask(TEXT, deadline=when))) for when in until]
        leaving = [asyncio.create_task(house.pipeline.explain(request)) for request in company()[:6]]
        erring = [
            asyncio.create_task(house.pipeline.explain(request))
            for request in (ask(" "), ask("x", input=TokensInput(input_ids=(10**9,))))
        ]
        await asyncio.wait([*staying, *leaving, *erring], return_when=asyncio.FIRST_COMPLETED)
        for task in leaving:
            task.cancel()
        wrong = await asyncio.gather(*erring, return_exceptions=True)
        assert all(isinstance(error, InvalidInput) for error in wrong)
        await asyncio.gather(*leaving, return_exceptions=True)
        assert any(task.cancelled() for task in leaving)
        return await asyncio.gather(*staying, return_exceptions=True)

    found = house.runner.run(together())
    assert all(isinstance(answer, Explanation) and numbers(answer) == alone for answer in found)
    gate = house.pipeline.gate
    assert (gate.in_flight, gate.explaining) == (0, 0)


def test_predictions_among_explanations_are_the_same(house: Harness) -> None:
    """Predictions that overtake explanations, and share batches, answer what they answer alone, up to rounding."""
    alone = house.explain(TEXT).prediction.logits

    async def together() -> list[Explanation]:
        explaining = [asyncio.create_task(house.pipeline.explain(request)) for request in company()[:4]]
        predicted = await asyncio.gather(*(house.pipeline.predict(ask(TEXT)) for _ in range(8)))
        assert all(np.abs(answer.prediction.logits - alone).max() <= 1e-5 for answer in predicted)
        return await asyncio.gather(*explaining)

    assert len(house.runner.run(together())) == 4
