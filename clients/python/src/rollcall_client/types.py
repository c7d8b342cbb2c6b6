"""What the service says, piece by piece: frozen values that mirror the wire, with no protobuf inside.

Sequences are tuples. Units of a text are referred to by index. An absent optional number is None, never 0.
`explanation.py` puts the pieces together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollcall_client._json import JsonValue, plain
from rollcall_client.enums import Modality, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rollcall_client.enums import (
        CheckKind,
        CheckOutcome,
        Flag,
        MapKind,
        Reason,
        RecordMode,
        RecordState,
        RemovalOperator,
        Task,
    )
    from rollcall_client.options import Threshold

# Seeds have 64 bits. Many JSON readers round numbers above 2^53, and a rounded seed replays something else.
AS_JSON_STRING: Mapping[str, bool] = {"json_string": True}
# What the caller brought.
NOT_IN_JSON: Mapping[str, bool] = {"in_json": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Which weights answered, exactly; `digest` is "sha256:" and 64 hexadecimal digits over the model's files."""

    name: str
    revision: str
    digest: str
    backend: str
    device: str
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the model says of the input. Margins are log-odds in natural-log units; zero is the tipping point.

    `target` is the label that margin, effects and maps speak of; with `target_negated` they speak for "not the target".

    Raises:
        ValueError: labels, probabilities and the predicted index do not fit together.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    predicted: str
    predicted_index: int
    margin: float
    target: str
    threshold_met: bool | None = None
    target_negated: bool = False

    def __post_init__(self) -> None:
        """Refuse probabilities that could not be told apart."""
        if len(self.labels) != len(self.probabilities) or not 0 <= self.predicted_index < len(self.labels):
            message = (
                f"{len(self.labels)} labels, {len(self.probabilities)} probabilities "
                f"and predicted index {self.predicted_index} do not fit together"
            )
            raise ValueError(message)

    @property
    def probability(self) -> float:
        """Probability of the predicted label, between 0 and 1."""
        return self.probabilities[self.predicted_index]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTiming:
    """Wall-clock seconds of one step of the request."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the service's time went, in wall-clock seconds; the network is not included."""

    stages: tuple[StageTiming, ...]
    total_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an explanation is: the step that runs, rows that have run, and about how many there will be."""

    stage: str
    rows: int
    planned_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle of an image, in pixels from its upper left corner; `right` and `bottom` lie one past it."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What people read and what gets removed: a word, or consecutive words of a long text.

    Token and character ranges end one past the last; characters are Unicode code points of the unit's own text
    (`segment` 0, or 1 for the second text of a pair). Of an image it is a block of neighbouring patches: `box` is where
    it lies, `text` its row and column, and all ranges are empty.
    """

    text: str
    token_start: int
    token_end: int
    char_start: int
    char_end: int
    segment: int = 0
    special: bool = False
    box: Box | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How much of the margin a unit carries, in log-odds; positive pushes towards the target."""

    unit: int
    effect: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFlip:
    """The smallest set of units found whose removal changes the decision.

    `margins` are the margins after removing it, by operator: mask token, hidden keys.
    """

    found: bool
    units: tuple[int, ...]
    margins: tuple[float, ...]
    sets_tried: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAlignment:
    """Alignment under one removal operator."""

    operator: RemovalOperator
    value: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Do the map's weights follow the causal effects of the units.

    `value` (A) is 1 for the best use of these very weights, 0 for what relabelling at random gives on average, -1 for
    the worst; `width` is the half-width with which it was compared; `reliability` (0 to 1) is how well the effects are
    known.
    """

    value: float
    width: float
    reliability: float
    removals: int
    p_up: float
    p_low: float
    per_operator: tuple[OperatorAlignment, ...]
    ridge_lambda: float
    prior: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one check. `rows` are the forward rows that it used; `value` is None if it did not run."""

    kind: CheckKind
    outcome: CheckOutcome
    statistic: str
    value: float | None
    threshold: float | None
    p_value: float | None
    rows: int
    seed: int = field(metadata=AS_JSON_STRING)
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A counterfactual that can be replayed.

    For REWIRING and ADVERSARY, `map` is the alternative map over units that gives the same prediction, `jsd` its
    Jensen-Shannon divergence from the original in nats (at most ln 2), and `tvd` the total variation distance of the
    two predictions (0 to 1). For HEADS, silencing any one of `heads` changes the decision.
    """

    kind: CheckKind
    map: tuple[float, ...]
    jsd: float | None
    tvd: float | None
    removed_units: tuple[int, ...]
    control_units: tuple[int, ...]
    detail: str
    heads: tuple[Head, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """An attention head; both numbers count from 0."""

    layer: int
    head: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThoroughPolicy:
    """Sizes and levels of the thorough checks, by name."""

    id: str
    digest: str
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReceipt:
    """What to keep to find and prove the record of an answer.

    `envelope_sha256` (64 hexadecimal digits) is what the log's entry names; `log_index` is known where the state is
    SEQUENCED. Without a record both ids are empty and `note` says why.
    """

    state: RecordState
    mode: RecordMode
    record_id: str
    envelope_sha256: str
    log_index: int | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRef:
    """What the calibration promises; `id` is "NONE", "FAILED", "OUT_OF_RANGE" or the id of the calibration used.

    `alpha` is the largest share of wrong flags promised, `confidence` that promise's confidence, both between 0 and 1.
    `created`: the promise is about inputs like those of that day.
    """

    id: str
    alpha: float | None
    confidence: float | None
    statement: str
    created: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SideVerdict:
    """May a map be relied on among the words of one text of a pair (`segment` 0 or 1), by alignment alone.

    `share` of the map's mass lies there; `alignment` is None if there is none. No calibration promises anything of it.
    """

    segment: int
    flag: Flag
    reason: Reason
    share: float
    alignment: float | None
    reliability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """May this map be relied on, and why: every number needed to decide again.

    `alignment` is None if no deciding measurement could be made; `jsd_from_uniform` is in nats.
    """

    flag: Flag
    reason: Reason
    scope: Scope
    alignment: Alignment | None
    calibration: CalibrationRef | None
    checks: tuple[CheckResult, ...]
    witnesses: tuple[Witness, ...]
    policy_id: str
    policy_digest: str
    thresholds: Mapping[str, float]
    jsd_from_uniform: float | None
    sides: tuple[SideVerdict, ...] = ()
    """Of a pair, the two texts each for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """One map with its flag. `scores` are non-negative, one per unit, and sum to 1.

    `dropped_mass` is the share of the map that lay on special tokens and was dropped; `note` is one sentence about how
    the map came out, if there is something to say.
    """

    map: MapKind
    scores: tuple[float, ...]
    class_specific: bool
    dropped_mass: float
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingMap:
    """A map that was asked for and could not be made; `reason` is one sentence for people."""

    map: MapKind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictResult:
    """The prediction alone: same inputs, same weights as an explanation.

    `reported_mismatch`: it differs from what was said to be acted on. `audit` is the receipt of the decision's record,
    None without a `decision_ref`, and where the service keeps no records. `word` is the one whose label it is, of a
    model that labels words.
    """

    request_id: str
    model: ModelRef
    prediction: Prediction
    truncated: bool
    tokens_total: int
    tokens_used: int
    timing: Timing
    reported_mismatch: bool = False
    audit: AuditReceipt | None = None
    word: Unit | None = None

    def to_dict(self) -> dict[str, JsonValue]:
        """The result as values that `json.dumps` takes, by the rules of `Explanation.to_dict`."""
        return plain(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """One test that the model went through when it was loaded."""

    name: str
    passed: bool
    value: float
    tolerance: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecheckedFlag:
    """Of flags that were checked again with many more removals, how many the model's own effects contradict.

    `lower` and `upper` are the exact 95 % interval of the share that is wrong, 0 to 1.
    """

    flag: Flag
    rechecked: int
    wrong: int
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRecord:
    """One map of a model over many distinct requests; it says nothing about a single answer.

    `flags` are requests by flag. `log_e_value` is the natural logarithm of an e-process against "the weights have
    nothing to do with the effects": above ln(1 / alpha) that is rejected at level alpha, whenever one looks.
    """

    map: MapKind
    requests: int
    flags: Mapping[Flag, int]
    mean_alignment: float | None
    log_e_value: float
    rechecked: tuple[RecheckedFlag, ...]

    def share(self, flag: Flag) -> float:
        """Share of the requests that got a flag, 0 to 1."""
        return self.flags.get(flag, 0) / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPromise:
    """The latest answers that the calibration's promise is about and that were checked again.

    `broken` says that `lower_limit`, a one-sided 95 % limit of the share that is wrong, is above `alpha`: the inputs
    are no longer like those of the calibration.
    """

    alpha: float
    answers: int
    wrong: int
    lower_limit: float
    broken: bool
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """What the answers of a model came to since `since` (UTC); `promise` is None where there is none."""

    since: datetime
    maps: tuple[MapRecord, ...]
    promise: KeptPromise | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Everything a caller can know about a model; limits count tokens, units, characters and forward rows."""

    ref: ModelRef
    family: str
    task: Task
    labels: tuple[str, ...]
    layers: int
    heads: int
    max_tokens: int
    max_units: int
    max_characters: int
    max_rows: int
    explainable: bool
    self_tests: tuple[SelfTest, ...]
    maps: tuple[MapKind, ...]
    checks: tuple[CheckKind, ...]
    operators: tuple[RemovalOperator, ...]
    calibration: CalibrationRef | None
    threshold: Threshold | None
    is_default: bool
    text_pairs: bool
    record: ModelRecord | None = None
    missing_maps: tuple[MissingMap, ...] = ()
    """Maps that the model's runtime cannot make, and why."""
    scope: Scope = Scope.UNSPECIFIED
    """Which counterfactuals its verdicts rest on; unspecified by servers that do not say."""
    modality: Modality = Modality.UNSPECIFIED
    """What it reads; unspecified by servers that do not say, all of whose models read text."""
    experimental: bool = False
    """Whether the thresholds behind its flags were never calibrated on this kind of input."""

    def to_dict(self) -> dict[str, JsonValue]:
        """The model as values that `json.dumps` takes, by the rules of `Explanation.to_dict`."""
        return plain(self)
