"""Listings of the Open Inference Protocol: the models, and of each its tensors, configuration and statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall.domain.decision import Task
from rollcall.edge.converters.oip.catalog import ANY, INPUTS, MAX_BATCH, OUTPUTS, PREDICTED, Spec, version
from rollcall.oip import open_inference_pb2 as oip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rollcall.domain.model import ModelCard, ModelRef, Unserved
    from rollcall.edge.statistics import Tally

CONFIGURED = {
    "BYTES": oip.TYPE_STRING,
    "INT64": oip.TYPE_INT64,
    "INT32": oip.TYPE_INT32,
    "FP32": oip.TYPE_FP32,
}
"""What configurations call the types."""
UNAVAILABLE = "UNAVAILABLE"
NOT_LOADED = "not loaded"


def metadata(card: ModelCard) -> oip.ModelMetadataResponse:
    """List a model's tensors."""
    tensor = oip.ModelMetadataResponse.TensorMetadata
    offered = OUTPUTS if card.explainable else PREDICTED
    return oip.ModelMetadataResponse(
        name=card.ref.name,
        versions=[version(card.ref)],
        platform=card.ref.backend,
        inputs=[
            tensor(name=name, datatype=spec.datatype, shape=[ANY, *spec.dims_of(card)])
            for name, spec in _inputs_of(card).items()
        ],
        outputs=[
            tensor(name=name, datatype=spec.datatype, shape=[ANY, *spec.dims_of(card)])
            for name, spec in offered.items()
        ],
    )


def config(card: ModelCard) -> oip.ModelConfigResponse:
    """List the same as a configuration; texts and ids may each be left out for the other."""
    listed = metadata(card)
    return oip.ModelConfigResponse(
        config=oip.ModelConfig(
            name=listed.name,
            platform=listed.platform,
            backend=listed.platform,
            max_batch_size=MAX_BATCH,
            input=[
                oip.ModelInput(name=one.name, data_type=CONFIGURED[one.datatype], dims=one.shape[1:], optional=True)
                for one in listed.inputs
            ],
            output=[
                oip.ModelOutput(name=one.name, data_type=CONFIGURED[one.datatype], dims=one.shape[1:])
                for one in listed.outputs
            ],
        )
    )


def statistics(ref: ModelRef, tally: Tally) -> oip.ModelStatistics:
    """Write what was answered for a model."""
    return oip.ModelStatistics(
        name=ref.name,
        version=version(ref),
        last_inference=tally.last_ms,
        inference_count=tally.items,
        execution_count=tally.succeeded,
        inference_stats=oip.InferStatistics(
            success=oip.StatisticDuration(count=tally.succeeded, ns=tally.succeeded_ns),
            fail=oip.StatisticDuration(count=tally.failed, ns=tally.failed_ns),
        ),
    )


def index(
    cards: Iterable[ModelCard],
    ready: Mapping[str, bool],
    unserved: Iterable[Unserved],
    *,
    ready_only: bool,
    in_detail: bool,
) -> oip.RepositoryIndexResponse:
    """List models and revisions by name, those that take no requests with a reason.

    What a revision failed with, which may quote its files, is told only `in_detail`.
    """
    versions = {card.ref.name: version(card.ref) for card in cards}
    entry = oip.RepositoryIndexResponse.ModelIndex
    listed = [
        entry(name=name, version=versions.get(name, ""), state="READY")
        if is_ready
        else entry(name=name, state=UNAVAILABLE, reason="loading, or the server is stopping")
        for name, is_ready in sorted(ready.items())
        if is_ready or not ready_only
    ]
    listed += [
        entry(
            name=one.name,
            version=one.revision,
            state=UNAVAILABLE,
            reason=_why(one, in_detail=in_detail),
        )
        for one in unserved
    ]
    return oip.RepositoryIndexResponse(models=sorted(listed, key=lambda each: each.name))


def _why(one: Unserved, *, in_detail: bool) -> str:
    if not one.problem:
        return NOT_LOADED
    return f"could not be loaded: {one.problem}" if in_detail else "could not be loaded; admins are told why"


def _inputs_of(card: ModelCard) -> dict[str, Spec]:
    """A model that labels words takes one with each text, and no ids, with which none could come."""
    labels_words = card.task is Task.TOKEN_LABEL
    left_out = {"word"} if not labels_words else INPUTS.keys() - {"text", "word"}
    return {
        name: spec for name, spec in INPUTS.items() if name not in left_out and (card.text_pairs or name != "text_pair")
    }
