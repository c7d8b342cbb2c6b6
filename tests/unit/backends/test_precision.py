"""Models in half precision: the same model up to its rounding, which is measured at load and counts in the verdict."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from rollcall.backends.base import variants
from rollcall.backends.tensors import DTYPES, TOLERANCES
from rollcall.backends.torch_backend import TorchBackend
from rollcall.demo import model_directory
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import DEFAULT_MAPS
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row
from rollcall.models.loading import LoadedModel, load_model
from tests.harness import Harness, ask, serving
from tests.tiny import TEXT, Zoo

HALVES = ("float16", "bfloat16")
SENTENCES = (
    "A wonderful, moving film with a great cast.",
    "The plot is thin, but the actors are charming.",
    "I did not like the ending at all, and the dialogue is dull.",
    "A dull, lifeless story.",
)


@pytest.fixture(scope="module", params=HALVES)
def dtype(request: pytest.FixtureRequest) -> str:
    """Both half precisions."""
    return str(request.param)


@pytest.fixture(scope="module", params=["bert", "roberta", "distilbert"])
def half(request: pytest.FixtureRequest, zoo: Zoo, dtype: str) -> tuple[LoadedModel, LoadedModel]:
    """A tiny model in half and in single precision."""
    tiny = zoo[request.param]
    return load_model(tiny.directory, dtype=dtype), tiny.loaded


def test_half_precision_is_proved_at_load(half: tuple[LoadedModel, LoadedModel], dtype: str) -> None:
    """The same self-tests hold, by tolerances of the precision, and the numerical floor is at least its epsilon."""
    model, single = half
    assert model.failed == ()
    assert model.backend.dtype == dtype
    epsilon = torch.finfo(DTYPES[dtype]).eps
    assert epsilon <= model.backend.noise <= TOLERANCES[DTYPES[dtype]].close
    assert single.backend.noise < 1e-5


def test_rows_are_those_of_single_precision_up_to_rounding(half: tuple[LoadedModel, LoadedModel], dtype: str) -> None:
    """Each kind of row answers as in single precision, by the tolerance of the self-tests; maps sum to one."""
    model, single = half
    encoding = single.backend.encode(TextInput(text=TEXT))
    removed = np.arange(len(encoding.units)) % 3 == 0
    rows = variants(
        encoding,
        [
            Row(readout=True),
            Row(removed=removed),
            Row(removed=removed, operator=RemovalOperator.HIDDEN_KEYS),
            *(Row(edit=edit, seed=3) for edit in list(AttentionEdit)[1:]),
        ],
    )
    ours, exact = model.backend.run(rows), single.backend.run(rows)
    close = TOLERANCES[DTYPES[dtype]].close
    scale = max(1.0, float(exact.logits.abs().max()))
    assert (ours.logits.float() - exact.logits).abs().max() / scale <= close
    assert ours.permuted is not None
    assert exact.permuted is not None
    assert ours.permuted.readout.dtype is torch.float32
    assert (ours.permuted.readout.sum(dim=-1) - 1).abs().max() <= 1e-5
    assert (ours.permuted.readout - exact.permuted.readout).abs().max() <= close


@pytest.fixture(scope="module", params=["float32", *HALVES])
def demo(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """The demo model in every precision."""
    with serving(load_model(model_directory(), dtype=request.param)) as harness:
        yield harness


EXACT: dict[str, list[tuple[str, str, float]]] = {}
"""Flag, reason and alignment of each map, by sentence, in single precision, which is asked first."""


@pytest.mark.parametrize("text", SENTENCES)
def test_verdicts_are_those_of_single_precision(demo: Harness, text: str) -> None:
    """On a trained model half precision decides as single precision does, with alignments a few hundredths apart."""
    explanation = demo.explain(ask(text))
    found = [
        (
            a.verdict.flag.name,
            a.verdict.reason.name,
            a.verdict.alignment.value if a.verdict.alignment else 0.0,
        )
        for a in explanation.attributions
    ]
    exact = EXACT.setdefault(text, found)
    assert [(flag, reason) for flag, reason, _ in found] == [(flag, reason) for flag, reason, _ in exact]
    assert [value for _, _, value in found] == pytest.approx([value for _, _, value in exact], abs=0.03)
    assert {a.map.kind for a in explanation.attributions} == set(DEFAULT_MAPS)


def test_an_unknown_positive_control_is_not_passed_over(zoo: Zoo) -> None:
    """Where uniform attention moves the state by less than the precision can show, explanations are not offered."""
    tiny = zoo["electra"]
    exact = {test.name: test for test in tiny.loaded.self_tests}["uniform_changes_state"]
    visible = TOLERANCES[torch.bfloat16].visible
    assert exact.passed
    assert exact.value < visible
    model = load_model(tiny.directory, dtype="bfloat16")
    assert model.failed == ("uniform_changes_state",)
    backend = model.backend
    assert isinstance(backend, TorchBackend)
    assert backend._model.config._attn_implementation == "sdpa"


def test_tolerances_grow_with_the_rounding() -> None:
    """What counts as equal in a coarser precision is never less than in a finer one."""
    by_eps = sorted(TOLERANCES, key=lambda each: torch.finfo(each).eps)
    closes = [TOLERANCES[each].close for each in by_eps]
    assert closes == sorted(closes)
    assert all(TOLERANCES[each].visible >= torch.finfo(each).eps for each in by_eps)
