"""What a caller may ask for beyond a text: small values, and the keyword arguments themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from rollcall_client.enums import DataType, HeadReduction, QuerySelection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollcall_client.enums import AuditChoice, CheckLevel, MapKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A decision rule: "the probability of `label` is at least `probability`" (between 0 and 1, both excluded)."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSelection:
    """Asks for the model's attention itself, in tokens. Layers and heads count from 0; empty means all."""

    layers: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    head_reduction: HeadReduction = HeadReduction.NONE
    queries: QuerySelection = QuerySelection.READOUT
    data_type: DataType = DataType.FLOAT32


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAttentionOptions:
    """Options of RAW_ATTENTION: layers (empty means the last) and heads (empty means all) to average, from 0."""

    layers: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutOptions:
    """Options of ATTENTION_ROLLOUT and ATTENTION_FLOW: how heads are fused (not NONE) and the first layer, from 0."""

    head_fusion: HeadReduction = HeadReduction.MEAN
    start_layer: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegratedGradientsOptions:
    """Options of INTEGRATED_GRADIENTS: the number of points at which the gradient is taken, 1 to 128."""

    points: int = 8


class PredictOptions(TypedDict, total=False):
    """Keyword arguments of `predict` and `predict_tokens`; all may be left out."""

    model: str
    """Name of the model; may be left out where the service has a default or only one."""
    revision: str
    """Revision that must be serving."""
    target: str | int | None
    """The class that the margin speaks of, by label or index from 0; the predicted class if left out."""
    foil: str | int | None
    """A class to contrast with ("why this and not that"), by label or index from 0."""
    threshold: Threshold | None
    """The decision rule; the model's configured one, else the arg max, if left out."""
    decision_ref: str
    """What you call this decision, at most 256 characters: a prediction is recorded where it is given."""
    subject_ref: str
    """What you call the person whom it is about, at most 256 characters: their records can be erased at once."""
    reported_label: str | None
    """The label that was acted on, to be compared with the prediction."""
    reported_score: float | None
    """The probability that was acted on, between 0 and 1."""


class ExplainOptions(PredictOptions, total=False):
    """Keyword arguments of `explain` and `explain_tokens`; all may be left out."""

    maps: Sequence[MapKind]
    """Maps to return; the four that cost least if left out. RAW_ATTENTION and ATTENTION_ROLLOUT always come."""
    primary_map: MapKind | None
    """The map whose flag is the answer's flag; the service's choice if left out."""
    level: CheckLevel | None
    """How much to check."""
    policy: str
    """Name of the verdict policy; "standard" if left out."""
    max_rows: int | None
    """Most counterfactual rows to spend, at least 1; the policy's number (the service's for THOROUGH) if left out."""
    seed: int | None
    """Seed of all random draws; a digest of token ids and policy if left out."""
    attention: AttentionSelection | None
    """Return the attention itself too."""
    raw_attention: RawAttentionOptions | None
    """Options of the map RAW_ATTENTION."""
    rollout: RolloutOptions | None
    """Options of the maps ATTENTION_ROLLOUT and ATTENTION_FLOW."""
    integrated_gradients: IntegratedGradientsOptions | None
    """Options of the map INTEGRATED_GRADIENTS."""
    audit: AuditChoice | None
    """Whether the answer may be recorded; as the service is set up if left out."""
