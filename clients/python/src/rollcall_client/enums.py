"""The service's vocabulary: one enum per enum of the wire.

A member's value is its number on the wire. A newer service may send a number that this client does not know: it becomes
a member named UNKNOWN_<number>, so nothing crashes, nothing is lost, and nothing unknown is mistaken for FAITHFUL.
"""

from __future__ import annotations

from enum import Enum


class WireEnum(Enum):
    """An enum that keeps numbers which it does not know."""

    @classmethod
    def _missing_(cls, value: object) -> WireEnum | None:
        if not isinstance(value, int):
            return None
        unknown = object.__new__(cls)
        unknown._name_ = f"UNKNOWN_{value}"
        unknown._value_ = value
        # The same number is the same member from now on, as enum.Flag does it.
        kept: WireEnum = cls._value2member_map_.setdefault(value, unknown)  # type: ignore[assignment]  # members of cls
        return kept

    @property
    def words(self) -> str:
        """The member's name as people read it: lower case, with spaces."""
        return self.name.lower().replace("_", " ")


class MapKind(WireEnum):
    """A way to turn the inside of the model into one weight per unit."""

    UNSPECIFIED = 0
    RAW_ATTENTION = 1
    ATTENTION_ROLLOUT = 2
    ATTENTION_FLOW = 3
    NORM_ROLLOUT = 4
    GRADIENT_ROLLOUT = 5
    INPUT_X_GRADIENT = 6
    INTEGRATED_GRADIENTS = 7
    LEAVE_ONE_OUT = 8
    EFFECT = 9
    DECOMPOSITION = 10


class Flag(WireEnum):
    """Whether a map may be relied on. Only FAITHFUL says yes."""

    UNSPECIFIED = 0
    FAITHFUL = 1
    UNFAITHFUL = 2
    INCONCLUSIVE = 3
    NOT_CHECKED = 4


class Reason(WireEnum):
    """Why a flag is inconclusive; UNSPECIFIED for every other flag."""

    UNSPECIFIED = 0
    NO_EFFECT = 1
    FLAT_MAP = 2
    LOW_POWER = 3
    OMISSION = 4
    NOT_USED = 5
    OPERATOR_DISAGREEMENT = 6
    CONFLICT = 7
    INSTRUMENT = 8
    NUMERICS = 9
    BUDGET = 10
    UNCALIBRATED = 11


class CheckLevel(WireEnum):
    """How much to check; UNSPECIFIED is the service's default."""

    UNSPECIFIED = 0
    NONE = 1
    STANDARD = 2
    THOROUGH = 3


class CheckKind(WireEnum):
    """A counterfactual check."""

    UNSPECIFIED = 0
    INSTRUMENT = 1
    REACH = 2
    ALIGNMENT = 3
    REWIRING = 4
    UNIFORM_ATTENTION = 5
    OMISSION = 6
    SUPPORT = 7
    CONTRADICTION = 8
    DECISION_FLIP = 9
    OPERATOR_RULE = 10
    STRATIFIED_NULL = 11
    REWIRING_SCOPES = 12
    KNOCK_OUT = 13
    ERASURE = 14
    RANK_AGREEMENT = 15
    HEADS = 16
    ADVERSARY = 17

    @property
    def thorough(self) -> bool:
        """Whether it comes at the level THOROUGH alone; such a check never changes a flag."""
        return self.value >= CheckKind.OPERATOR_RULE.value


class CheckOutcome(WireEnum):
    """What one check found."""

    UNSPECIFIED = 0
    SUPPORTS = 1
    CONTRADICTS = 2
    INCONCLUSIVE = 3
    SKIPPED = 4
    ERRORED = 5
    MEASURED = 6


class RemovalOperator(WireEnum):
    """How a unit is removed."""

    UNSPECIFIED = 0
    MASK_TOKEN = 1
    HIDDEN_KEYS = 2
    DELETION = 3
    MEAN_PATCH = 4
    BLURRED_PATCH = 5


class Scope(WireEnum):
    """Which counterfactuals a verdict rests on."""

    UNSPECIFIED = 0
    ALL_LAYERS = 1
    INPUT_ONLY = 2


class AuditChoice(WireEnum):
    """Whether an answer is recorded; UNSPECIFIED means DEFAULT, as the service is set up."""

    UNSPECIFIED = 0
    DEFAULT = 1
    OFF = 2


class RecordState(WireEnum):
    """How far a record was when its answer left: what is SPOOLED survives a crash and will be in the log."""

    UNSPECIFIED = 0
    NOT_RECORDED = 1
    ACCEPTED = 2
    SPOOLED = 3
    SEQUENCED = 4


class RecordMode(WireEnum):
    """How much of an answer a record holds; UNSPECIFIED where there is none."""

    UNSPECIFIED = 0
    FULL = 1
    SCORES_ONLY = 2
    DIGEST_ONLY = 3


class RecordType(WireEnum):
    """What a record is of."""

    UNSPECIFIED = 0
    EXPLANATION = 1
    DECISION = 2


class EventType(WireEnum):
    """What was done with a record; UNSPECIFIED in a question means any."""

    UNSPECIFIED = 0
    ACCESS = 1
    ERASURE = 2
    HOLD = 3
    RELEASE = 4
    REPLAY = 5
    REVIEW = 6
    EXPORT = 7


class ErasureGround(WireEnum):
    """Why something is erased."""

    UNSPECIFIED = 0
    PERSON = 1
    OBLIGATION = 2
    MISTAKE = 3
    RETENTION = 4


class ReplayOutcome(WireEnum):
    """What a replay came to."""

    UNSPECIFIED = 0
    EXACT = 1
    WITHIN_TOLERANCE = 2
    DIFFERENT = 3
    VERDICT_CHANGED = 4
    NOT_REPLAYABLE = 5


class TrendPeriod(WireEnum):
    """How long the periods of a trend are, in UTC; UNSPECIFIED in a question means a day. Weeks begin on Mondays."""

    UNSPECIFIED = 0
    DAY = 1
    WEEK = 2
    MONTH = 3


class ReviewState(WireEnum):
    """How far a review is; UNSPECIFIED in a question means any."""

    UNSPECIFIED = 0
    OPEN = 1
    ASSIGNED = 2
    DECIDED = 3
    CLOSED = 4


class ReviewAction(WireEnum):
    """What somebody did to a review."""

    UNSPECIFIED = 0
    OPEN = 1
    ASSIGN = 2
    COMMENT = 3
    DECIDE = 4
    APPROVE = 5
    RETURN = 6
    REOPEN = 7
    SECOND = 8


class Disposition(WireEnum):
    """What a review came to; UNSPECIFIED where it is not decided."""

    UNSPECIFIED = 0
    UPHELD = 1
    OVERTURNED = 2
    EXPLANATION_UNRELIABLE = 3
    MODEL_DEFECT = 4
    DATA_DEFECT = 5
    NO_ACTION = 6


class HeadReduction(WireEnum):
    """How attention is reduced over heads; UNSPECIFIED means NONE in tensors and MEAN in rollout."""

    UNSPECIFIED = 0
    NONE = 1
    MEAN = 2
    MAX = 3


class QuerySelection(WireEnum):
    """Which query positions of an attention tensor are returned; UNSPECIFIED means READOUT."""

    UNSPECIFIED = 0
    ALL = 1
    READOUT = 2


class DataType(WireEnum):
    """How a tensor's values are stored; UNSPECIFIED in a request means FLOAT32."""

    UNSPECIFIED = 0
    FLOAT32 = 1
    FLOAT16 = 2
    UINT8 = 3


class Modality(WireEnum):
    """What a model reads."""

    UNSPECIFIED = 0
    TEXT = 1
    IMAGE = 2


class Task(WireEnum):
    """What a model's outputs mean."""

    UNSPECIFIED = 0
    SINGLE_LABEL = 1
    MULTI_LABEL = 2
    NEXT_TOKEN = 3
    TOKEN_LABEL = 4
