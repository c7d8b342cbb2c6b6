"""What stands between pipeline and engine while an explanation is measured: it remembers, or answers from memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rollcall.domain.compute import Captured, Compute, Job, Search
from rollcall.domain.decision import Decision
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import AttentionSelection, Floats, MapKind, MapOptions
from rollcall.domain.rows import Row, RowResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Rows that an explanation had run at once, with their answers."""

    rows: list[Row] = field(repr=False)
    results: list[RowResult] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Recording:
    """A `Compute` that passes everything on and remembers it."""

    compute: Compute
    encoding: Encoding | None = None
    captured: Captured | None = None
    calls: list[Call] = field(default_factory=list)

    async def encode(self, model: str, model_input: ModelInput) -> Encoding:
        """Remember the encoding."""
        self.encoding = await self.compute.encode(model, model_input)
        return self.encoding

    async def predict(self, job: Job, model: str, encoding: Encoding) -> RowResult:
        """Pass on."""
        return await self.compute.predict(job, model, encoding)

    async def run(
        self, job: Job, model: str, encoding: Encoding, rows: list[Row], options: MapOptions
    ) -> list[RowResult]:
        """Remember the rows and their answers."""
        results = await self.compute.run(job, model, encoding, rows, options)
        self.calls.append(Call(rows=rows, results=results))
        return results

    async def capture(
        self,
        job: Job,
        model: str,
        encoding: Encoding,
        *,
        maps: frozenset[MapKind],
        options: MapOptions,
        decide: Callable[[Floats], Decision],
        attention: AttentionSelection | None,
        half_way: bool = False,
    ) -> Captured:
        """Remember the maps."""
        self.captured = await self.compute.capture(
            job, model, encoding, maps=maps, options=options, decide=decide, attention=attention, half_way=half_way
        )
        return self.captured

    async def search(
        self,
        job: Job,
        model: str,
        encoding: Encoding,
        search: Search,
        options: MapOptions,
        stepped: Callable[[int], None],
    ) -> list[Floats]:
        """Pass on."""
        return await self.compute.search(job, model, encoding, search, options, stepped)

    def expected_seconds(self, model: str, rows: int, length: int) -> float:
        """Pass on."""
        return self.compute.expected_seconds(model, rows, length)

    def capture_seconds(self, model: str, length: int) -> float:
        """Pass on."""
        return self.compute.capture_seconds(model, length)


@dataclass(slots=True, kw_only=True)
class Replaying(Recording):
    """A `Compute` that answers from a recording at once: what is left is everything but the model."""

    at: int = 0

    async def encode(self, model: str, model_input: ModelInput) -> Encoding:  # noqa: ARG002 - the contract
        """Answer from the recording."""
        assert self.encoding is not None
        return self.encoding

    async def run(
        self,
        job: Job,  # noqa: ARG002 - the contract
        model: str,  # noqa: ARG002 - the contract
        encoding: Encoding,  # noqa: ARG002 - the contract
        rows: list[Row],
        options: MapOptions,  # noqa: ARG002 - the contract
    ) -> list[RowResult]:
        """Answer from the recording."""
        call = self.calls[self.at]
        self.at += 1
        assert len(call.rows) == len(rows)
        return call.results

    async def capture(self, *_: object, **__: object) -> Captured:
        """Answer from the recording."""
        assert self.captured is not None
        return self.captured
