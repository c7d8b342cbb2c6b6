"""Parts switched off: the engine's own SILENCED where it has one, and weights written down where it has none."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

from rollcall.backends.base import variants
from rollcall.domain.inputs import TextInput
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.models.loading import load_model
from rollcall.studies.laboratory import NAME, Laboratory
from rollcall.studies.papers.heads.ablation import Ablated, Part, Switches, shapley
from rollcall.verdict.policies import STANDARD
from tests.tiny import TEXT, make_model

OTHERS = [part for part in Part if part is not Part.HEADS]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT whose every bias and gain is of use."""
    return make_model("bert", tmp_path_factory.mktemp("model"), classes=2)


@pytest.fixture(scope="module")
def ablated(directory: Path) -> Ablated:
    """The same, with switches."""
    return Ablated.load(directory)


@pytest.fixture(scope="module")
def ids(directory: Path) -> list[int]:
    """One text as the model reads it."""
    found: list[int] = load_model(directory).backend.encode(TextInput(text=TEXT)).input_ids.tolist()
    return found


def plain(model: BertForSequenceClassification, ids: list[int]) -> torch.Tensor:
    """What the stock model says."""
    logits: torch.Tensor = model(input_ids=torch.tensor([ids])).logits
    return logits


def switched(ablated: Ablated, part: Part, layers: list[int], heads: list[int] | None = None) -> Switches:
    """One row with a part of some layers off."""
    switches = Switches.all_on(1, ablated.layers, ablated.heads)
    tensor = switches.heads if part is Part.HEADS else switches.others[part]
    for layer in layers:
        tensor[0, layer, ... if heads is None else heads] = 0
    return switches


@pytest.mark.parametrize(("layer", "heads"), [(0, [1]), (1, [0]), (1, [0, 1])])
def test_a_head_that_is_off_is_silenced_as_the_engine_does_it(
    directory: Path, ablated: Ablated, ids: list[int], layer: int, heads: list[int]
) -> None:
    """One head, another, and all of a layer."""
    bench = Laboratory(model=load_model(directory), policy=STANDARD).open(TextInput(text=TEXT))
    row = Row(edit=AttentionEdit.SILENCED, layers=(layer,), heads=tuple(heads))
    (expected,) = bench.laboratory.engine.run(NAME, variants(bench.subject.encoding, [row]))
    found = ablated.logits([ids], switched(ablated, Part.HEADS, [layer], heads))
    np.testing.assert_allclose(found[0], expected.logits, atol=2e-4)
    assert not np.allclose(found[0], bench.subject.base.logits, atol=1e-3)


def test_with_everything_on_it_is_the_model(ablated: Ablated, ids: list[int]) -> None:
    """Also beside a longer text in the same batch; and no hook is left behind."""
    expected = plain(ablated.model, ids)
    rows = [ids, ids[:1] + ids[1:-1] * 2 + ids[-1:]]
    found = ablated.logits(rows, Switches.all_on(2, ablated.layers, ablated.heads))
    torch.testing.assert_close(found[:1], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(plain(ablated.model, ids), expected)


def test_a_feed_forward_part_that_is_off_leaves_its_bias(ablated: Ablated, ids: list[int]) -> None:
    """Against the same model with these weights set to 0."""
    cut = copy.deepcopy(ablated.model)
    cut.get_parameter("bert.encoder.layer.1.output.dense.weight").zero_()
    found = ablated.logits([ids], switched(ablated, Part.FEED_FORWARD, [1]))
    torch.testing.assert_close(found, plain(cut, ids), atol=1e-4, rtol=1e-4)


def test_a_residual_that_is_off_leaves_only_what_was_added(ablated: Ablated, ids: list[int]) -> None:
    """Against the last layer written out: the norm of the feed-forward part alone."""
    last, model = ablated.layers - 1, ablated.model
    added: list[torch.Tensor] = []
    dense = model.get_submodule(f"bert.encoder.layer.{last}.output.dense")
    hook = dense.register_forward_hook(lambda _module, _args, output: added.append(output))
    plain(model, ids)
    hook.remove()
    state = model.get_submodule(f"bert.encoder.layer.{last}.output.LayerNorm")(added[0])
    expected = model.classifier(model.get_submodule("bert.pooler")(state))
    found = ablated.logits([ids], switched(ablated, Part.AROUND_FEED_FORWARD, [last]))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("part", Part)
def test_every_part_matters_and_each_row_has_switches_of_its_own(ablated: Ablated, ids: list[int], part: Part) -> None:
    """A row of a batch gets what its switches say, whatever the other rows' say."""
    off = switched(ablated, part, [0])
    both = Switches.all_on(2, ablated.layers, ablated.heads)
    tensor = both.heads if part is Part.HEADS else both.others[part]
    tensor[1, 0] = 0
    on, found = ablated.logits([ids, ids], both)
    torch.testing.assert_close(found, ablated.logits([ids], off)[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(on, found, atol=1e-3)


@pytest.mark.parametrize("part", Part)
def test_the_mean_of_one_constant_text_changes_nothing(ablated: Ablated, part: Part) -> None:
    """Where a part says the same at every position, its mean is what it says: position and token embeddings are cut."""
    model = copy.deepcopy(ablated.model)
    model.bert.embeddings.position_embeddings.weight.zero_()
    same = Ablated(model=model)
    row = [5] * 6
    means = same.means([row])
    off = switched(same, part, list(range(same.layers)))
    untouched = same.logits([row], Switches.all_on(1, same.layers, same.heads))
    torch.testing.assert_close(same.logits([row], off, means), untouched, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(same.logits([row], off), untouched, atol=1e-3)


def test_without_attention_every_text_gets_the_same_answer(ablated: Ablated, ids: list[int]) -> None:
    """The classification token has then read nothing."""
    off = switched(ablated, Part.HEADS, list(range(ablated.layers)))
    torch.testing.assert_close(ablated.logits([ids], off), ablated.logits([ids[:4]], off), atol=1e-4, rtol=1e-4)


def test_shapley_values_of_a_sum_are_its_terms_and_of_a_pair_its_halves() -> None:
    """Three players: the first adds 2, the others 4 together and nothing alone."""

    def value(coalitions: torch.Tensor) -> torch.Tensor:
        return 1 + 2 * coalitions[:, 0] + 4 * coalitions[:, 1] * coalitions[:, 2]

    found = shapley(value, 3, orders=1, generator=torch.Generator().manual_seed(0))
    assert found.tolist() == [2.0, 2.0, 2.0]


def test_shapley_values_add_up_to_what_all_do(ablated: Ablated, ids: list[int]) -> None:
    """On a real model, whatever the orders."""

    def value(coalitions: torch.Tensor) -> torch.Tensor:
        switches = Switches.all_on(len(coalitions), ablated.layers, ablated.heads)
        switches.heads[:] = coalitions[:, :, None]
        return ablated.logits([ids] * len(coalitions), switches)[:, 0]

    values = shapley(value, ablated.layers, orders=2, generator=torch.Generator().manual_seed(1))
    ends = value(torch.stack([torch.zeros(ablated.layers), torch.ones(ablated.layers)]))
    assert float(values.sum()) == pytest.approx(float(ends[1] - ends[0]), abs=1e-4)
