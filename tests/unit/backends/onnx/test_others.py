"""Exports whose attention is not BERT's: windows, positions in the scores, weights that are laid out anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rollcall.attribution.rollout import norm_rollout
from rollcall.backends.base import BatchOutput, CaptureRequest, variants
from rollcall.backends.onnx.backend import OnnxBackend
from rollcall.backends.onnx.surgery import NotOpenedError
from rollcall.backends.onnx.windows import find_windows
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import TokensInput
from rollcall.domain.maps import AttentionSelection, MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, QueryScope, RemovalOperator, Row
from rollcall.domain.verdicts import Scope
from rollcall.models.loading import LoadedModel, load_model
from tests.exports import export
from tests.tiny import Tiny, Zoo
from tests.unit.backends import stock
from tests.unit.backends.onnx.test_backend import assert_equal

FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "DeBERTa by the older exporter": ("deberta-v2", {"attention": "eager"}),
    "DeBERTa by the newer one": ("deberta-v2", {"attention": "eager", "dynamo": True}),
    "MPNet by the older exporter": ("mpnet", {"attention": "eager"}),
    "MPNet by the newer one": ("mpnet", {"attention": "eager", "dynamo": True}),
    "ModernBERT, eager": ("modernbert", {"attention": "eager"}),
    "ModernBERT, SDPA": ("modernbert", {"attention": "sdpa"}),
    "ModernBERT by the newer exporter": ("modernbert", {"attention": "sdpa", "dynamo": True}),
}
WINDOWS = (None, 4, 4, None)
"""Of the tiny ModernBERT."""
LENGTH = 21
"""More than both sides of a window."""
CLOSE = 1e-5


@pytest.fixture(scope="module", params=FORMS)
def served(
    request: pytest.FixtureRequest, zoo: Zoo, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tiny, LoadedModel]:
    """A tiny model, and its export as it is served."""
    family, form = FORMS[request.param]
    return zoo[family], load_model(export(zoo[family].directory, tmp_path_factory.mktemp("other") / "model", **form))


def test_every_test_holds(served: tuple[Tiny, LoadedModel]) -> None:
    """With attention open the answer is the file's; windows are those of the configuration."""
    tiny, loaded = served
    assert isinstance(loaded.backend, OnnxBackend)
    opened = loaded.backend._opened
    assert (loaded.failed, loaded.scope) == ((), Scope.ALL_LAYERS)
    assert all(test.passed for test in loaded.self_tests if test.name != "batch_is_neutral")
    assert opened is not None
    assert opened.windows == (WINDOWS if tiny.family == "modernbert" else (None,) * tiny.backend.shape.layers)
    names = {test.name for test in loaded.self_tests}
    assert ("windows_are_kept" in names) is (tiny.family == "modernbert")


def test_attention_is_the_stock_models(served: tuple[Tiny, LoadedModel]) -> None:
    """Every layer's and head's weights, and the norms of what they carry where torch has them."""
    tiny, loaded = served
    ids = stock.random_ids(tiny, LENGTH)
    maps = frozenset({MapKind.NORM_ROLLOUT} & set(loaded.maps))
    assert bool(maps) is (tiny.family != "modernbert")
    request = CaptureRequest(
        maps=maps,
        options=MapOptions(),
        decide=lambda _: Decision(task=Task.SINGLE_LABEL, target=0),
        attention=AttentionSelection(readout_only=False),
    )
    captured, by_torch = (
        backend.capture(backend.encode(TokensInput(input_ids=ids)), request)
        for backend in (loaded.backend, tiny.backend)
    )
    assert captured.selected is not None
    found = np.frombuffer(captured.selected.data, dtype=np.float32).reshape(captured.selected.shape)
    reading = stock.read(tiny, stock.Batch.of(ids))
    assert np.abs(found - reading.attention).max() <= CLOSE
    assert np.abs(captured.logits.numpy() - reading.logits).max() <= CLOSE
    if maps:
        assert captured.norms is not None
        assert by_torch.norms is not None
        ours, theirs = (norm_rollout(norms.unsqueeze(0), 0) for norms in (captured.norms, by_torch.norms))
        assert (ours - theirs).abs().max() <= CLOSE


def test_edits_and_removals_are_those_of_torch(served: tuple[Tiny, LoadedModel]) -> None:
    """Uniform within what a query sees, permuted within it, cut, silenced, biased, hidden: the same in both."""
    tiny, loaded = served
    layers, heads = tiny.backend.shape.layers, tiny.backend.shape.heads
    units = np.arange(LENGTH - 2)
    bias = np.random.default_rng(0).normal(size=(layers, heads, LENGTH)) * 2
    rows = [
        Row(edit=AttentionEdit.UNIFORM, readout=True),
        Row(edit=AttentionEdit.UNIFORM, layers=(1,), readout=True),
        Row(edit=AttentionEdit.PERMUTED, seed=3, readout=True),
        Row(edit=AttentionEdit.PERMUTED, layers=(1, 2), seed=4, readout=True),
        Row(edit=AttentionEdit.PERMUTED, queries=QueryScope.READOUT, seed=5, readout=True),
        Row(edit=AttentionEdit.KNOCKED_OUT, units=units % 3 == 0, readout=True),
        Row(edit=AttentionEdit.CUT, units=units % 3 == 1, layers=(0, 2), readout=True),
        Row(edit=AttentionEdit.SILENCED, heads=(0, 3), layers=(1,), readout=True),
        Row(edit=AttentionEdit.BIASED, bias=bias, readout=True),
        Row(edit=AttentionEdit.UNIFORM, removed=units < 2, operator=RemovalOperator.HIDDEN_KEYS, readout=True),
    ]
    removals = [Row(removed=units % 2 == 0, operator=operator) for operator in loaded.removals.every]
    batches, removing = [], []
    for backend in (loaded.backend, tiny.backend):
        both = [stock.random_ids(tiny, length, seed=length) for length in (LENGTH, LENGTH // 2)]
        long, short = (backend.encode(TokensInput(input_ids=ids)) for ids in both)
        shorter = [Row(edit=edit, seed=9, readout=True) for edit in (AttentionEdit.UNIFORM, AttentionEdit.PERMUTED)]
        batches.append(own_queries(backend.run([*variants(long, rows), *variants(short, shorter)]), len(rows)))
        removing.append(backend.run(variants(long, removals)))
    assert_equal(*batches)
    assert_equal(*removing)
    untouched = loaded.backend.predict(variants(loaded.backend.encode(TokensInput(input_ids=both[0])), [Row()]))
    assert (batches[0].logits[: len(rows)] - untouched).abs().amax(dim=1).min() > CLOSE


def own_queries(batch: BatchOutput, longer: int) -> BatchOutput:
    """The batch without what queries of padding see, which is anything: those of the rows after the `longer` ones."""
    assert batch.permuted is not None
    for at, number in enumerate(batch.permuted_rows):
        for layer in batch.permuted.fused:
            layer[at, LENGTH // 2 if number >= longer else LENGTH :] = 0
    return batch


def test_a_window_that_nobody_declared_is_none(zoo: Zoo, tmp_path: Path) -> None:
    """A graph that looks otherwise than its configuration says is not edited."""
    file = export(zoo["modernbert"].directory, tmp_path / "model", attention="eager")
    config = file.parent / "config.json"
    config.write_text(config.read_text().replace('"local_attention": 8', '"local_attention": 12'))
    loaded = load_model(file)
    assert (loaded.failed, loaded.scope) == ((), Scope.INPUT_ONLY)
    assert "looks 4 tokens far, and its configuration says 6" in loaded.lacking[0].reason


def test_windows_are_read_off_the_weights() -> None:
    """As far as any query of any head gives any weight; everything where that is the whole text."""
    near = torch.eye(9) + torch.diag(torch.ones(7), 2) + torch.diag(torch.ones(7), -2)
    assert find_windows([near.expand(1, 2, 9, 9), torch.ones(1, 2, 9, 9)], 2) == (2, None)
    with pytest.raises(NotOpenedError, match="layer 0 looks 2 tokens far, and its configuration says 3"):
        find_windows([near.expand(1, 2, 9, 9)], 3)
