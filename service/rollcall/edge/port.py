"""What the doors need from the house behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollcall.domain.explanation import ExplainRequest, Explanation, Predicted, PredictRequest, Progress
    from rollcall.domain.model import ModelCard, Unserved
    from rollcall.monitor.record import ModelRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a request may bring or ask for."""

    max_characters: int
    max_rows: int
    max_attention_bytes: int
    """Of one stream."""
    max_attention_streams: int
    """Streams with attention at a time: with the limit of each this bounds the memory that slow readers can take."""


class ServicePort(Protocol):
    """The service behind the edge. Its methods raise errors of `rollcall.domain.errors`, or CancelledError."""

    @property
    def default_model(self) -> str | None:
        """Name of the model for requests without one; None where the caller must choose."""

    async def predict(self, request: PredictRequest) -> Predicted:
        """Classify. Cancelling the call stops the work."""

    async def explain(self, request: ExplainRequest, tell: Callable[[Progress], None] | None = None) -> Explanation:
        """Classify, map, check and decide; `tell` hears how far it is. Cancelling drops rows that have not run."""

    def models(self) -> tuple[ModelCard, ...]:
        """List the models that are served, by name."""

    def model(self, name: str) -> ModelCard:
        """Find one model; "" means the default. Raises ModelNotFound or ModelNotReady."""

    async def load_model(self, name: str, revision: str) -> None:
        """Serve a model of the repository, its newest revision for "". Raises Unsupported where that is not allowed."""

    async def unload_model(self, name: str) -> None:
        """Take no further requests for a model of the repository. Raises as `load_model`."""

    async def unserved(self) -> tuple[Unserved, ...]:
        """List what the repository holds and nobody is served from. Raises OSError where it cannot be read."""

    def record(self, name: str) -> ModelRecord | None:
        """Tell what a served model's answers came to so far; None where nobody keeps count."""

    def limits(self) -> Limits:
        """Tell what is in force now."""
