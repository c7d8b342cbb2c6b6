"""A model taken apart: what is counted of it, on a random encoder and on numbers written down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rollcall.domain.inputs import TextInput
from rollcall.models.loading import load_model
from rollcall.studies.laboratory import Laboratory
from rollcall.studies.papers.frame import Json
from rollcall.studies.papers.heads.ablation import Ablated, Part, Switches
from rollcall.studies.papers.heads.report import result
from rollcall.studies.papers.heads.study import Opened, head_flips, parts, pruning, singles
from rollcall.studies.papers.heads.taken import taken
from rollcall.verdict.policies import STANDARD
from tests.tiny import CORPUS, make_model


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A random BERT of two classes, and four texts."""
    directory: Path = make_model("bert", tmp_path_factory.mktemp("model"), classes=2)
    return Opened(
        laboratory=Laboratory(model=load_model(directory), policy=STANDARD),
        ablated=Ablated.load(directory),
        texts=tuple(TextInput(text=text) for text in CORPUS[:4]),
        labels=(0, 1, 0, 1),
        accuracy=0.5,
        orders=1,
    )


@pytest.fixture(scope="module")
def found(opened: Opened) -> dict[str, Json]:
    """Every step of the study."""
    return {"singles": singles(opened), "pruning": pruning(opened), "parts": parts(opened)}


def test_the_check_of_heads_flips_what_the_switches_flip(opened: Opened) -> None:
    """Of each text the heads that change the decision, by the engine and by the switched model."""
    layers, count = opened.ablated.layers, opened.ablated.heads
    for number, text in enumerate(opened.texts):
        flips, witness = head_flips(opened.laboratory.open(text), layers, count)
        switches = Switches.all_on(layers * count + 1, layers, count)
        for head in range(layers * count):
            switches.heads[head, head // count, head % count] = 0
        said = opened.ablated.logits([opened.ids(number)] * len(switches.heads), switches).argmax(dim=1)
        assert flips == torch.nonzero(said[:-1] != said[-1]).flatten().tolist()
        assert witness == bool(flips)


def test_pruning_begins_with_everything_kept_and_ends_the_same_in_any_order(
    opened: Opened, found: dict[str, Json]
) -> None:
    """With no head left all texts get the same answer."""
    curves = [found["pruning"]["least_first"], found["pruning"]["most_first"], *found["pruning"]["random"]]
    for curve in curves:
        assert len(curve["kept"]) == opened.ablated.layers * opened.ablated.heads + 1
        assert curve["kept"][0] == 1.0
        assert curve["kept"][-1] == curves[0]["kept"][-1]
    importance = found["pruning"]["importance"]
    changes = np.abs([one["changes"] for one in found["singles"]["inputs"][: opened.half]]).mean(axis=0)
    np.testing.assert_allclose(importance, changes, atol=1e-3)


def test_shapley_values_share_out_the_margin(found: dict[str, Json]) -> None:
    """From what nobody makes of it to what all do; the decision speaks for itself, so the margin is positive."""
    for one in found["parts"]["inputs"]:
        assert one["margin"] > 0
        assert sum(one["shapley"]["values"]) == pytest.approx(one["margin"] - one["shapley"]["nobody"], abs=2e-3)
        assert len(one["nothing"]) == len(one["mean"]) == len(Part) * (found["parts"]["layers"] + 1)


def test_the_report_has_shares_of_what_was_counted(found: dict[str, Json]) -> None:
    """And draws up claims and comparisons for each model."""
    one = taken("tiny", found)
    assert 0 <= one.attention_share.value <= 1
    assert one.total == len(one.flips)
    assert one.unnoticed == max(gone for gone in range(one.total + 1) if min(one.least_first[: gone + 1]) >= 0.95)
    made = result({"tiny": found})
    assert len(made.claims) == 4
    assert made.findings["tiny"]["flips_by_head"] == [round(share, 4) for share in one.flips]
