"""The architecture families, as rows. Adding a family is adding a row, with a test in the family matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from rollcall.backends.base import Layout
from rollcall.domain.inputs import Modality
from rollcall.domain.rows import IMAGE_REMOVALS, POOLED_REMOVALS, TEXT_REMOVALS, Removals

_BERT_LAYOUT = Layout(
    attention="attention.self",
    key="attention.self.key",
    value="attention.self.value",
    out_projection="attention.output.dense",
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    feed_in="intermediate.dense",
    feed_out="output.dense",
)
_ROBERTA_LAYOUT = replace(_BERT_LAYOUT, head_in="classifier.dense", head_out="classifier.out_proj")
"""ELECTRA's, too."""
_VIT_LAYOUT = Layout(
    attention="attention",
    key="attention.k_proj",
    value="attention.v_proj",
    out_projection="attention.o_proj",
    input_norm="layernorm_before",
)
_DECODER_LAYOUT = Layout(attention="self_attn")
"""Its keys are turned by their positions, and belong to several heads."""
_DINO_LAYOUT = replace(_VIT_LAYOUT, input_norm="norm1", gain="layer_scale1.lambda1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row: `model_type` as in config.json, where its parts are, and its quirks."""

    model_type: str
    title: str
    layout: Layout
    modality: Modality = Modality.TEXT
    positions_after_padding: bool = False
    """Whether positions are numbered from the padding id + 1 on, so that those below are never used."""
    takes_type_ids: bool = True
    causal: bool = False
    """Whether it is a language model, asked for the next token."""
    prefix: int = 0
    """Tokens in front of the patches of an image: the one that the classifier reads, and others of no patch."""
    registers: str = ""
    """The field of the configuration with the number of further such tokens, where there are some."""

    removals: Removals = TEXT_REMOVALS
    unread: str = ""
    """Why there are no maps of what a token attends to, where the classifier reads no one token: then answers rest on
    removals alone."""

    def prefix_of(self, config: Any) -> int:  # noqa: ANN401 - every family has a class of its own
        """Tokens of one model that are no patches."""
        return self.prefix + (int(getattr(config, self.registers)) if self.registers else 0)


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
            norms=("sa_layer_norm", "output_layer_norm"),
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
            norms=("attention.LayerNorm", "full_layer_layer_norm"),
            feed_in="ffn",
            feed_out="ffn_output",
            head_in="albert.pooler",
            head_out="classifier",
        ),
    ),
    Family(
        model_type="modernbert",
        title="ModernBERT",
        layout=Layout(attention="attn", out_projection="attn.Wo"),
        takes_type_ids=False,
    ),
    Family(
        model_type="deberta-v2",
        title="DeBERTa v2 and v3",
        layout=Layout(
            attention="attention.self.dropout",
            tapped=True,
            stock="eager",
            value="attention.self.value_proj",
            out_projection="attention.output.dense",
            norms=("attention.output.LayerNorm", "output.LayerNorm"),
            feed_in="intermediate.dense",
            feed_out="output.dense",
            head_in="pooler.dense",
            head_out="classifier",
        ),
    ),
    Family(
        model_type="mpnet",
        title="MPNet",
        layout=Layout(
            attention="attention.attn.dropout",
            tapped=True,
            stock="eager",
            value="attention.attn.v",
            out_projection="attention.attn.o",
            norms=("attention.LayerNorm", "output.LayerNorm"),
            feed_in="intermediate.dense",
            feed_out="output.dense",
            head_in="classifier.dense",
            head_out="classifier.out_proj",
        ),
        positions_after_padding=True,
        takes_type_ids=False,
    ),
    Family(
        model_type="vit", title="ViT", layout=_VIT_LAYOUT, modality=Modality.IMAGE, prefix=1, removals=IMAGE_REMOVALS
    ),
    Family(
        model_type="deit", title="DeiT", layout=_VIT_LAYOUT, modality=Modality.IMAGE, prefix=2, removals=IMAGE_REMOVALS
    ),
    Family(
        model_type="dinov2",
        title="DINOv2",
        layout=_DINO_LAYOUT,
        modality=Modality.IMAGE,
        prefix=1,
        removals=POOLED_REMOVALS,
    ),
    Family(
        model_type="dinov2_with_registers",
        title="DINOv2 with registers",
        layout=_DINO_LAYOUT,
        modality=Modality.IMAGE,
        prefix=1,
        registers="num_register_tokens",
        removals=POOLED_REMOVALS,
    ),
    Family(
        model_type="clip",
        title="CLIP (image classifier)",
        layout=Layout(
            attention="self_attn",
            key="self_attn.k_proj",
            value="self_attn.v_proj",
            out_projection="self_attn.out_proj",
            input_norm="layer_norm1",
            encoder="vision_model",
            described="vision_config",
            adds_mask=True,
        ),
        modality=Modality.IMAGE,
        prefix=1,
        removals=POOLED_REMOVALS,
        unread="The classifier reads the mean of all patches and not the class token, whose attention this would be.",
    ),
    Family(model_type="gpt2", title="GPT-2", layout=Layout(attention="attn"), causal=True),
    Family(model_type="llama", title="Llama", layout=_DECODER_LAYOUT, causal=True),
    Family(model_type="mistral", title="Mistral", layout=_DECODER_LAYOUT, causal=True),
    Family(model_type="qwen2", title="Qwen2", layout=_DECODER_LAYOUT, causal=True),
    Family(model_type="qwen3", title="Qwen3", layout=_DECODER_LAYOUT, causal=True),
    Family(model_type="gemma2", title="Gemma 2", layout=replace(_DECODER_LAYOUT, stock="eager"), causal=True),
    Family(model_type="gemma3_text", title="Gemma 3", layout=_DECODER_LAYOUT, causal=True),
)

FAMILIES: Mapping[str, Family] = MappingProxyType({row.model_type: row for row in _ROWS})
"""By model type."""
