"""A model that is a sum: each word adds its own amount to the margin. It can be made to wait, to fail and to lie."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rollcall.admission.backlog import Backlog
from rollcall.admission.gate import Gate
from rollcall.admission.plan import ServerDefaults
from rollcall.domain.compute import Captured, Job, Priority, Search
from rollcall.domain.decision import Decision
from rollcall.domain.errors import InvalidInput
from rollcall.domain.inputs import Encoding, ModelInput, TextInput, Unit
from rollcall.domain.maps import AttentionSelection, Floats, MapKind, MapOptions, UnitMap
from rollcall.domain.model import ModelCard
from rollcall.domain.policy import Policy
from rollcall.domain.rows import AttentionEdit, Row, RowResult
from rollcall.domain.verdicts import CheckLevel
from rollcall.pipeline.catalog import Catalog, Entry
from rollcall.pipeline.explain import Pipeline
from rollcall.verdict.calibration import Calibration
from rollcall.verdict.policies import POLICIES, THOROUGH
from tests.harness import Told
from tests.unit.pipeline.cards import card

WORDS = ("the", "plot", "is", "thin", "but", "music", "moves", "me")
EFFECTS: Mapping[str, float] = dict(zip(WORDS, (0.0, 0.2, 0.1, 0.4, 0.3, 0.9, 1.6, 0.6), strict=True))
TEXT = " ".join(WORDS)
STAGES = ("encode", "capture", "look", "witness")
LABELS = ("yes", "no")
CARD = card(labels=LABELS)


def encoding(text: str) -> Encoding:
    """One token per word between two special tokens."""
    words = text.split()
    ids = np.array([1, *(10 + WORDS.index(word) for word in words), 2])
    units = tuple(
        Unit(text=word, token_start=i + 1, token_end=i + 2, char_start=0, char_end=0, segment=0)
        for i, word in enumerate(words)
    )
    return Encoding(
        input_ids=ids,
        type_ids=np.zeros_like(ids),
        unit_of_token=np.array([-1, *range(len(words)), -1]),
        units=units,
        tokens_total=len(ids),
        grouped=False,
    )


def effects_of(encoded: Encoding) -> Floats:
    """Amounts of an input's words [n]."""
    return np.array([EFFECTS[unit.text] for unit in encoded.units])


def unit_map(kind: MapKind, scores: Floats) -> UnitMap:
    """Normalise scores [n] to a map."""
    return UnitMap(kind=kind, scores=scores / scores.sum(), dropped_mass=0.0)


@dataclass(kw_only=True)
class SumModel:
    """Implements `Compute`. Its first two maps are the truth, the third one is the opposite, the last one in between.

    `before` is called with a stage's name before it runs; `after` may change the results of a stage's rows.
    """

    bias: float = -1.0
    before: Callable[[str], None] = lambda _: None
    after: Callable[[str, list[Row], list[RowResult]], list[RowResult]] = lambda _, __, results: results
    halt_at: str = ""
    halted: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    entered: list[str] = field(default_factory=list)
    rows: list[tuple[Priority, int]] = field(default_factory=list)
    seconds_per_row: float = 0.0
    gradient_error: float = 0.0
    """So far the half-way gradient is from the effects."""
    witness_from: int = 10**9
    """Rows of checks after which the next ones are called a witness's."""

    async def encode(self, model: str, model_input: ModelInput) -> Encoding:  # noqa: ARG002 - the contract
        """Read words."""
        await self._enter("encode")
        assert isinstance(model_input, TextInput)
        if not model_input.text.split():
            raise InvalidInput.of("text.text", "holds no word")
        return encoding(model_input.text)

    async def predict(self, job: Job, model: str, encoding: Encoding) -> RowResult:  # noqa: ARG002 - the contract
        """Add up the untouched input."""
        await self._enter("predict")
        self.rows.append((Priority.PREDICT, 1))
        (result,) = self.after("predict", [Row()], [self.answer(encoding, Row())])
        return result

    async def run(
        self,
        job: Job,  # noqa: ARG002 - the contract
        model: str,  # noqa: ARG002 - the contract
        encoding: Encoding,
        rows: list[Row],
        options: MapOptions,  # noqa: ARG002 - the contract
    ) -> list[RowResult]:
        """Add up what is left of each row."""
        stage = "witness" if self.checked >= self.witness_from else "look"
        await self._enter(stage)
        self.rows.append((Priority.CHECK, len(rows)))
        return self.after(stage, rows, [self.answer(encoding, row) for row in rows])

    async def search(
        self,
        job: Job,  # noqa: ARG002 - the contract
        model: str,  # noqa: ARG002 - the contract
        encoding: Encoding,  # noqa: ARG002 - the contract
        search: Search,
        options: MapOptions,  # noqa: ARG002 - the contract
        stepped: Callable[[int], None],
    ) -> list[Floats]:
        """Find nothing."""
        stepped(search.rows)
        return []

    def expected_seconds(self, model: str, rows: int, length: int) -> float:  # noqa: ARG002 - the contract
        """As long as the test says."""
        return rows * self.seconds_per_row

    def capture_seconds(self, model: str, length: int) -> float:  # noqa: ARG002 - the contract
        """As long as four rows."""
        return 4 * self.seconds_per_row

    @property
    def checked(self) -> int:
        """Rows of checks so far."""
        return sum(count for priority, count in self.rows if priority is Priority.CHECK)

    def answer(self, encoded: Encoding, row: Row) -> RowResult:
        """Answer one row."""
        effects = effects_of(encoded)
        kept = np.ones(len(effects)) if row.removed is None else 1.0 - row.removed
        margin = self.bias + float(kept @ effects)
        if row.edit is AttentionEdit.PERMUTED:
            margin = -margin
        state = np.array([1.0, margin, 1.0 if row.edit is AttentionEdit.UNIFORM else 0.0])
        scrambled = np.roll(effects[::-1], row.seed % len(effects)) + 0.01
        maps = {kind: scrambled / scrambled.sum() for kind in (MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT)}
        return RowResult(
            logits=np.array([margin / 2, -margin / 2]),
            readout=state if row.readout else None,
            maps=maps if row.edit is AttentionEdit.PERMUTED else {},
        )

    async def capture(
        self,
        job: Job,  # noqa: ARG002 - the contract
        model: str,  # noqa: ARG002 - the contract
        encoding: Encoding,
        *,
        maps: frozenset[MapKind],
        options: MapOptions,  # noqa: ARG002 - the contract
        decide: Callable[[Floats], Decision],
        attention: AttentionSelection | None,  # noqa: ARG002 - the contract
        half_way: bool = False,
    ) -> Captured:
        """Make the maps that are asked for."""
        await self._enter("capture")
        self.rows.append((Priority.BASE, 1))
        untouched = Row(readout=True)
        (row,) = self.after("capture", [untouched], [self.answer(encoding, untouched)])
        truth = effects_of(encoding) + 0.01
        scores = {
            MapKind.RAW_ATTENTION: truth,
            MapKind.ATTENTION_ROLLOUT: truth,
            MapKind.NORM_ROLLOUT: truth.max() + 0.01 - truth,
            MapKind.GRADIENT_ROLLOUT: truth,
            MapKind.INPUT_X_GRADIENT: truth,
        }
        return Captured(
            row=row,
            decision=decide(row.logits),
            maps=tuple(unit_map(kind, scores[kind]) for kind in MapKind if kind in maps),
            attention=None,
            attention_is_uniform=False,
            half_way_gradient=effects_of(encoding) + self.gradient_error if half_way else None,
        )

    async def _enter(self, stage: str) -> None:
        self.entered.append(stage)
        self.before(stage)
        if stage == self.halt_at:
            self.halted.set()
            await self.let_go.wait()


def pipeline_of(
    compute: SumModel,
    *,
    model: ModelCard = CARD,
    calibration: Calibration | None = None,
    gate: Gate | None = None,
    backlog_seconds: float = 3600.0,
    policies: Mapping[str, Policy] = POLICIES,
    **fields: Any,  # noqa: ANN401 - the other fields of Pipeline
) -> Pipeline:
    """A pipeline around one model."""
    return Pipeline(
        catalog=Catalog(entries={model.ref.name: Entry(card=model, calibration=calibration)}, default=model.ref.name),
        compute=compute,
        gate=gate or Gate(max_in_flight=4, share=1.0),
        backlog=Backlog(max_seconds=backlog_seconds, seconds=compute.expected_seconds),
        policies=policies,
        thorough=THOROUGH,
        defaults=ServerDefaults(
            check_level=CheckLevel.STANDARD,
            policy=next(iter(policies)),
            max_rows=4096,
            thorough_rows=2048,
            most_rows=4096,
        ),
        telemetry=fields.pop("telemetry", Told()),
        **fields,
    )
