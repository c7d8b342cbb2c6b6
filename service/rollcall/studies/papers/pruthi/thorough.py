"""The product's thorough checks on one input, without a server and without a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rollcall.domain.compute import Search
from rollcall.domain.maps import Floats, MapKind, MapOptions, UnitMap
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.rows import Row, RowResult
from rollcall.engine.adversary import AdversarySearch
from rollcall.pipeline.thorough import ThoroughChecker, ThoroughFinding
from rollcall.studies.laboratory import NAME, Bench, endless_budget


def thorough_checks(bench: Bench, maps: Sequence[UnitMap], policy: ThoroughPolicy) -> ThoroughFinding:
    """What every thorough check says of every map; adversaries and gradients only where the maps name theirs."""
    engine, backend = bench.laboratory.engine, bench.laboratory.model.backend
    by_kind = {unit_map.kind: unit_map for unit_map in maps}
    attention, gradient = by_kind.get(MapKind.RAW_ATTENTION), by_kind.get(MapKind.INPUT_X_GRADIENT)

    async def run(rows: list[Row]) -> list[RowResult]:
        return bench.run(rows)

    async def search(wanted: Search) -> list[Floats]:
        adversary = AdversarySearch(
            backend=engine.differentiable(NAME),
            encoding=bench.subject.encoding,
            options=MapOptions(),
            search=wanted,
            first=0,
            count=wanted.restarts,
        )
        for _ in range(wanted.steps):
            engine.searching(adversary)
        return adversary.proposed()

    checker = ThoroughChecker(
        subject=bench.subject,
        maps=tuple(maps),
        first=len(maps),
        attention=None if attention is None else attention.scores,
        gradient=None if gradient is None else gradient.signed,
        layers=backend.shape.layers,
        heads=backend.shape.heads,
        policy=policy,
        run=run,
        budget=endless_budget(),
        search=search,
    )
    return asyncio.run(checker.check())
