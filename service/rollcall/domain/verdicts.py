"""What the checks measured, and what was decided from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from rollcall.domain.maps import Floats
from rollcall.domain.rows import RemovalOperator


class Flag(Enum):
    """Whether a map may be relied on."""

    FAITHFUL = "faithful"
    UNFAITHFUL = "unfaithful"
    INCONCLUSIVE = "inconclusive"
    NOT_CHECKED = "not_checked"


class Reason(Enum):
    """Why a flag is inconclusive; NONE for the other flags."""

    NONE = "none"
    NO_EFFECT = "no_effect"
    FLAT_MAP = "flat_map"
    LOW_POWER = "low_power"
    OMISSION = "omission"
    NOT_USED = "not_used"
    OPERATOR_DISAGREEMENT = "operator_disagreement"
    CONFLICT = "conflict"
    INSTRUMENT = "instrument"
    NUMERICS = "numerics"
    BUDGET = "budget"
    UNCALIBRATED = "uncalibrated"


class CheckLevel(Enum):
    """How much to check."""

    NONE = "none"
    STANDARD = "standard"
    THOROUGH = "thorough"


class CheckKind(Enum):
    """A counterfactual check."""

    INSTRUMENT = "instrument"
    REACH = "reach"
    ALIGNMENT = "alignment"
    REWIRING = "rewiring"
    UNIFORM_ATTENTION = "uniform_attention"
    OMISSION = "omission"
    SUPPORT = "support"
    CONTRADICTION = "contradiction"
    DECISION_FLIP = "decision_flip"
    OPERATOR_RULE = "operator_rule"
    STRATIFIED_NULL = "stratified_null"
    REWIRING_SCOPES = "rewiring_scopes"
    KNOCK_OUT = "knock_out"
    ERASURE = "erasure"
    RANK_AGREEMENT = "rank_agreement"
    HEADS = "heads"
    ADVERSARY = "adversary"

    @property
    def thorough(self) -> bool:
        """Whether it is part of CheckLevel.THOROUGH alone, and so never decides."""
        return self in _THOROUGH


_THOROUGH = frozenset(
    {
        CheckKind.OPERATOR_RULE,
        CheckKind.STRATIFIED_NULL,
        CheckKind.REWIRING_SCOPES,
        CheckKind.KNOCK_OUT,
        CheckKind.ERASURE,
        CheckKind.RANK_AGREEMENT,
        CheckKind.HEADS,
        CheckKind.ADVERSARY,
    }
)


class CheckOutcome(Enum):
    """What a check found."""

    SUPPORTS = "supports"
    CONTRADICTS = "contradicts"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"
    ERRORED = "errored"
    MEASURED = "measured"
    """A number for people to read, evidence neither way."""


EDITING_CHECKS = frozenset(
    {
        CheckKind.UNIFORM_ATTENTION,
        CheckKind.REWIRING,
        CheckKind.REWIRING_SCOPES,
        CheckKind.KNOCK_OUT,
        CheckKind.HEADS,
        CheckKind.ADVERSARY,
    }
)
"""Checks that edit attention: none of them where the scope is INPUT_ONLY."""


class Scope(Enum):
    """Which counterfactuals a verdict rests on."""

    ALL_LAYERS = "all_layers"
    INPUT_ONLY = "input_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one check; `detail` is one sentence for people that never quotes the input."""

    kind: CheckKind
    outcome: CheckOutcome
    statistic: str
    value: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    rows: int = 0
    seed: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A counterfactual that can be replayed; the strongest evidence for people."""

    kind: CheckKind
    detail: str
    map_scores: Floats | None = None
    jsd: float | None = None
    tvd: float | None = None
    removed_units: tuple[int, ...] = ()
    control_units: tuple[int, ...] = ()
    heads: tuple[tuple[int, int], ...] = ()
    """Layers and heads, from 0, each of which does it by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAlignment:
    """A fitted on one operator's rows alone."""

    operator: RemovalOperator
    value: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Do the map's weights follow the causal effects (DESIGN section 2)?

    `width` is what the policy or calibration sets; `prior` says whether a gradient helped to estimate the effects.
    """

    value: float
    width: float
    reliability: float
    removals: int
    p_up: float
    p_low: float
    per_operator: tuple[OperatorAlignment, ...]
    ridge_lambda: float
    prior: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRef:
    """Which calibration set the widths. `id` is NONE, FAILED, OUT_OF_RANGE or the calibration's id.

    `created` says when it was made: a promise about inputs like those of that day.
    """

    id: str
    created: datetime | None = None
    alpha: float | None = None
    confidence: float | None = None
    statement: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideVerdict:
    """What holds of a map among the words of one text of a pair: `share` of its mass lies there."""

    segment: int
    flag: Flag
    reason: Reason
    share: float
    alignment: float | None
    reliability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """May this map be relied on, and every number needed to decide again."""

    flag: Flag
    reason: Reason
    scope: Scope
    alignment: Alignment | None
    calibration: CalibrationRef
    checks: tuple[CheckResult, ...]
    witnesses: tuple[Witness, ...]
    policy_id: str
    policy_digest: str
    thresholds: dict[str, float] = field(default_factory=dict)
    jsd_from_uniform: float | None = None
    sides: tuple[SideVerdict, ...] = ()
    """Of a pair, the two texts each for itself."""
