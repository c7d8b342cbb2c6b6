"""Requests and answers of the two main calls, free of protobuf."""

from __future__ import annotations

from dataclasses import dataclass, field

from rollcall.domain.decision import Prediction
from rollcall.domain.identity import ANYONE, Identity
from rollcall.domain.inputs import ModelInput, Target, Threshold, Unit
from rollcall.domain.maps import (
    MAX_ATTENTION_BYTES,
    AttentionSelection,
    AttentionTensor,
    MapKind,
    MapOptions,
    MissingMap,
    UnitMap,
)
from rollcall.domain.model import ModelRef
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.recording import AuditChoice, Receipt
from rollcall.domain.verdicts import CheckLevel, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """Ask for a prediction. `deadline` is a reading of time.monotonic(), None without one.

    `decision_ref` and `subject_ref`: what the caller calls the decision and the person it is about. `reported_label`
    and `reported_score`: what the caller acted on.
    """

    request_id: str
    model: str
    revision: str
    input: ModelInput
    target: Target
    threshold: Threshold | None
    deadline: float | None
    caller: Identity = ANYONE
    decision_ref: str = field(default="", repr=False)
    subject_ref: str = field(default="", repr=False)
    reported_label: str | None = field(default=None, repr=False)
    reported_score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest(PredictRequest):
    """Ask for an explanation. None and empty mean the default of model, policy or server."""

    maps: tuple[MapKind, ...] = ()
    primary_map: MapKind | None = None
    map_options: MapOptions = field(default_factory=MapOptions)
    attention: AttentionSelection | None = None
    max_attention_bytes: int = MAX_ATTENTION_BYTES
    """Most that whoever asks can be sent."""
    check_level: CheckLevel | None = None
    policy: str = ""
    max_rows: int | None = None
    seed: int | None = None
    audit: AuditChoice = AuditChoice.DEFAULT
    retrospective_of: str = ""
    """Record of a decision that is explained afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an explanation is: the stage that runs, rows that have run, and about how many there will be."""

    stage: str
    rows: int
    planned_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Wall-clock seconds by stage, in the order in which the stages first ran."""

    stages: tuple[tuple[str, float], ...]
    total_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """The answer to a PredictRequest."""

    request_id: str
    model: ModelRef
    prediction: Prediction
    tokens_total: int
    tokens_used: int
    timing: Timing
    reported_mismatch: bool = False
    receipt: Receipt | None = None
    """Of its record; None where none was asked for, or this server keeps none."""
    word: Unit | None = None
    """The word whose label it is, of a model that labels words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How much of the margin one unit carries, in log-odds; positive pushes towards the target."""

    unit: int
    effect: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFlip:
    """The smallest set of units found whose removal changes the decision, with the margin under each operator."""

    found: bool
    units: tuple[int, ...]
    margins: tuple[float, ...]
    sets_tried: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """One map with its verdict. No map leaves the service without it."""

    map: UnitMap
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer to an ExplainRequest."""

    explanation_id: str
    request_id: str
    model: ModelRef
    prediction: Prediction
    units: tuple[Unit, ...]
    units_grouped: bool
    attributions: tuple[Attribution, ...]
    effects: tuple[Effect, ...]
    decision_flip: DecisionFlip | None
    primary_map: MapKind
    recommended_map: MapKind | None
    tokens_total: int
    tokens_used: int
    reported_mismatch: bool
    attention: AttentionTensor | None
    timing: Timing
    rows: int
    seed: int
    missing_maps: tuple[MissingMap, ...] = ()
    thorough: ThoroughPolicy | None = None
    """Behind the thorough checks, where they were asked for."""
    receipt: Receipt | None = None
    """Of its record; None where this server keeps none."""
    retrospective_of: str = ""
    """Record of the decision that it explains afterwards, if it does."""
    image_size: tuple[int, int] | None = None
    """Width and height that the units' boxes are in, of an image."""
    experimental: bool = False
    """Whether nothing is known of how often flags on such inputs are wrong."""
    word: Unit | None = None
    """The word whose label it is about, of a model that labels words."""

    @property
    def primary(self) -> Attribution:
        """The attribution whose flag is the answer's flag."""
        return next(a for a in self.attributions if a.map.kind is self.primary_map)
