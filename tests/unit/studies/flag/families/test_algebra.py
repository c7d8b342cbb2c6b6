"""Weights that are written down do what is said of them."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import BertForSequenceClassification

from rollcall.studies.flag.families.algebra import EVIDENCE, MARK, MARK_SIZE, Design, Head, Pairs, write
from rollcall.training.pieces import CLS_ID, SEP_ID, SPECIAL_PIECES

PAIRS = Pairs(names=(EVIDENCE, "salience", MARK), width=16, heads=2)
WORDS = ({EVIDENCE: 1.0, "salience": 1.0}, {EVIDENCE: -1.0, "salience": 0.0})
SHARPNESS = 2.0


def model() -> BertForSequenceClassification:
    """One head selects by salience and collects evidence; the other does nothing."""
    selecting = Head(
        query=(MARK,), key=("salience",), sharpness=SHARPNESS / MARK_SIZE, value=(EVIDENCE,), output=(EVIDENCE,)
    )
    special = [{MARK: MARK_SIZE} if number == CLS_ID else {} for number in range(len(SPECIAL_PIECES))]
    design = Design(pairs=PAIRS, tokens=[*special, *WORDS], layers=((selecting, Head()),), gain=4.0, bias=0.5)
    written = write(BertForSequenceClassification, design)
    written.train(mode=False)
    written.set_attn_implementation("eager")
    return written


def ids(*words: int) -> torch.Tensor:
    """A text of these words between the special tokens."""
    return torch.tensor([[CLS_ID, *(len(SPECIAL_PIECES) + word for word in words), SEP_ID]])


def test_every_token_has_mean_0_and_variance_1() -> None:
    """So that the layer norms leave it alone, and its sizes are read as they were written."""
    token = PAIRS.token({EVIDENCE: -0.7, "salience": 0.4})
    assert float(token.mean()) == pytest.approx(0, abs=1e-7)
    assert float(token.square().mean()) == pytest.approx(1)
    assert float(token @ PAIRS.reader(EVIDENCE)) == pytest.approx(-0.7)
    assert float(token @ PAIRS.reader("salience")) == pytest.approx(0.4)


def test_a_token_cannot_carry_more_than_its_variance() -> None:
    """It would be scaled down by the layer norm, and silently carry less."""
    with pytest.raises(ValueError, match="more than the width holds"):
        PAIRS.token({EVIDENCE: 3.0})


@torch.no_grad()
def test_attention_is_as_sharp_as_is_said() -> None:
    """Salience 1 gets e^sharpness times the weight of salience 0; a head without a query is uniform."""
    selecting, idle = model()(input_ids=ids(0, 1), output_attentions=True).attentions[0][0, :, 0]
    assert float(selecting[1] / selecting[2]) == pytest.approx(math.exp(SHARPNESS), rel=1e-4)
    assert idle.tolist() == pytest.approx([0.25] * 4)


@torch.no_grad()
def test_the_margin_is_the_bias_and_what_the_attention_collects() -> None:
    """Nothing without words; towards "yes" for evidence, away from it for evidence against."""
    margins = [
        float(logits[0, 1] - logits[0, 0])
        for logits in (model()(input_ids=ids(*words)).logits for words in ((), (0,), (1,)))
    ]
    assert margins[0] == pytest.approx(0.5, abs=1e-5)
    assert margins[1] > 0.5 > margins[2]
    share = math.exp(SHARPNESS) / (math.exp(SHARPNESS) + 2)
    # the layer norm shrinks the collected share with the state that it is added to, of variance 1
    collected = share / math.sqrt(1 + 2 * share**2 / PAIRS.width)
    assert margins[1] == pytest.approx(0.5 + 4 * math.tanh(collected), rel=1e-3)
