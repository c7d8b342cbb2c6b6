"""The architecture families, as rows. Adding a family is adding a row, with a test in the family matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from rollcall.backends.base import Layout

_BERT_LAYOUT = Layout(
    attention="attention.self",
    key="attention.self.key",
    value="attention.self.value",
    out_projection="attention.output.dense",
    first_norm="attention.output.LayerNorm",
    second_norm="output.LayerNorm",
    feed_in="intermediate.dense",
    feed_out="output.dense",
)
_ROBERTA_LAYOUT = replace(_BERT_LAYOUT, head_in="classifier.dense", head_out="classifier.out_proj")
"""ELECTRA's, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row: `model_type` as in config.json, where its parts are, and its quirks."""

    model_type: str
    title: str
    layout: Layout
    positions_after_padding: bool = False
    """Whether positions are numbered from the padding id + 1 on, so that those below are never used."""
    takes_type_ids: bool = True


_ROWS = (
    Family(
        model_type="bert",
        title="BERT",
        layout=replace(_BERT_LAYOUT, head_in="bert.pooler.dense", head_out="classifier"),
    ),
    Family(
        model_type="distilbert",
        title="DistilBERT",
        layout=Layout(
            attention="attention",
            key="attention.k_lin",
            value="attention.v_lin",
            out_projection="attention.out_lin",
            first_norm="sa_layer_norm",
            second_norm="output_layer_norm",
            feed_in="ffn.lin1",
            feed_out="ffn.lin2",
            head_in="pre_classifier",
            head_out="classifier",
        ),
        takes_type_ids=False,
    ),
    Family(
        model_type="roberta",
        title="RoBERTa",
        layout=_ROBERTA_LAYOUT,
        positions_after_padding=True,
        takes_type_ids=False,
    ),
    Family(
        model_type="xlm-roberta",
        title="XLM-R",
        layout=_ROBERTA_LAYOUT,
        positions_after_padding=True,
        takes_type_ids=False,
    ),
    Family(
        model_type="camembert",
        title="CamemBERT",
        layout=_ROBERTA_LAYOUT,
        positions_after_padding=True,
        takes_type_ids=False,
    ),
    Family(model_type="electra", title="ELECTRA", layout=_ROBERTA_LAYOUT),
    Family(
        model_type="albert",
        title="ALBERT",
        layout=Layout(
            attention="attention",
            key="attention.key",
            value="attention.value",
            out_projection="attention.dense",
            first_norm="attention.LayerNorm",
            second_norm="full_layer_layer_norm",
            feed_in="ffn",
            feed_out="ffn_output",
            head_in="albert.pooler",
            head_out="classifier",
        ),
    ),
)

FAMILIES: Mapping[str, Family] = MappingProxyType({row.model_type: row for row in _ROWS})
"""By model type."""
