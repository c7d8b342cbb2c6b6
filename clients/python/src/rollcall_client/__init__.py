"""Ask a Rollcall service what a model decided, where it looked, and whether that picture may be relied on.

    from rollcall_client import Client, Flag

    with Client("localhost:8001") as client:
        explanation = client.explain("The plot was thin, but I laughed all evening.")
        print(explanation.prediction.predicted, explanation.flag.name)
        if explanation.flag is Flag.FAITHFUL:
            for word in explanation.words:
                print(word.unit.text, word.score, word.effect)

Only FAITHFUL says that a map may be relied on. `AsyncClient` is the same for asyncio; `terminal.render` and
`html.render_page` draw an explanation for people.
"""

from rollcall_client.client import AsyncClient, Client
from rollcall_client.enums import (
    CheckKind,
    CheckLevel,
    CheckOutcome,
    DataType,
    Flag,
    HeadReduction,
    MapKind,
    QuerySelection,
    Reason,
    RemovalOperator,
    Scope,
    Task,
)
from rollcall_client.errors import (
    AccessDenied,
    CallerError,
    Cancelled,
    CapacityError,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidAnswer,
    InvalidArgument,
    NotFound,
    QuotaExceeded,
    RollcallError,
    ServiceError,
    Unavailable,
    Unknown,
)
from rollcall_client.explanation import Explanation, Word
from rollcall_client.options import (
    AttentionSelection,
    ExplainOptions,
    IntegratedGradientsOptions,
    PredictOptions,
    RawAttentionOptions,
    RolloutOptions,
    Threshold,
)
from rollcall_client.tensors import AttentionTensor
from rollcall_client.types import (
    Alignment,
    Attribution,
    CalibrationRef,
    CheckResult,
    DecisionFlip,
    Effect,
    KeptPromise,
    MapRecord,
    MissingMap,
    Model,
    ModelRecord,
    ModelRef,
    OperatorAlignment,
    Prediction,
    PredictResult,
    RecheckedFlag,
    SelfTest,
    StageTiming,
    Timing,
    Unit,
    Verdict,
    Witness,
)

__all__ = [
    "AccessDenied",
    "Alignment",
    "AsyncClient",
    "AttentionSelection",
    "AttentionTensor",
    "Attribution",
    "CalibrationRef",
    "CallerError",
    "Cancelled",
    "CapacityError",
    "CheckKind",
    "CheckLevel",
    "CheckOutcome",
    "CheckResult",
    "Client",
    "DataType",
    "DeadlineExceeded",
    "DecisionFlip",
    "Effect",
    "ExplainOptions",
    "Explanation",
    "FailedPrecondition",
    "Flag",
    "HeadReduction",
    "IntegratedGradientsOptions",
    "Internal",
    "InvalidAnswer",
    "InvalidArgument",
    "KeptPromise",
    "MapKind",
    "MapRecord",
    "MissingMap",
    "Model",
    "ModelRecord",
    "ModelRef",
    "NotFound",
    "OperatorAlignment",
    "PredictOptions",
    "PredictResult",
    "Prediction",
    "QuerySelection",
    "QuotaExceeded",
    "RawAttentionOptions",
    "Reason",
    "RecheckedFlag",
    "RemovalOperator",
    "RollcallError",
    "RolloutOptions",
    "Scope",
    "SelfTest",
    "ServiceError",
    "StageTiming",
    "Task",
    "Threshold",
    "Timing",
    "Unavailable",
    "Unit",
    "Unknown",
    "Verdict",
    "Witness",
    "Word",
]
