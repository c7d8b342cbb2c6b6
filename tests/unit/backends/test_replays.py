"""What is recorded once is replayed with the numbers of each call, and with nothing of the call that recorded it.

A processor records nothing; `Rerun` stands in for CUDA: it runs the functions of the recorded call again, on the
buffers of the recorded call, into the results of the recorded call. Whatever else a later call meant is lost on it, as
on a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from rollcall.backends.base import CaptureRequest, variants
from rollcall.backends.image_backend import ImageBackend
from rollcall.backends.replay_test import try_replays
from rollcall.backends.replays import RECORDED_AT, Call, Replays
from rollcall.backends.tensors import Packed
from rollcall.backends.torch_backend import TorchBackend
from rollcall.domain.decision import Decision
from rollcall.domain.maps import DEFAULT_MAPS, AttentionSelection, Floats, MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row
from rollcall.engine.engine import Engine
from rollcall.models.loading import LoadedModel, load_model
from tests.pictures import FAMILIES as IMAGE_FAMILIES
from tests.pictures import make_vision_model
from tests.tiny import FAMILIES, Zoo, make_model

T = TypeVar("T")
Tensor = torch.Tensor


@dataclass(slots=True)
class Rerun:
    """Records by remembering what to do again."""

    recorded: int = 0
    replayed: int = 0
    acts: list[tuple[Callable[[], Any], Any]] = field(default_factory=list)

    def record(self, act: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """Do it, and remember it."""
        found = act()
        self.recorded += 1

        def again() -> None:
            self.replayed += 1
            for new, old in zip(tensors_in(act()), tensors_in(found), strict=True):
                with torch.no_grad():
                    old.copy_(new)

        return found, again


def tensors_in(found: object) -> Iterator[Tensor]:
    """Every tensor of a result, in order."""
    if isinstance(found, Tensor):
        yield found
    elif is_dataclass(found):
        for each in fields(found):
            yield from tensors_in(getattr(found, each.name))
    elif isinstance(found, list | tuple):
        for each in found:
            yield from tensors_in(each)


def packed(*values: float) -> Packed:
    """Numbers under the name "x"."""
    return Packed.of({"x": np.array(values)}, "cpu")


def double(tensors: Mapping[str, Tensor]) -> Tensor:
    """Twice the numbers."""
    return tensors["x"] * 2


def test_arrays_cross_in_one_buffer_and_come_out_as_they_were() -> None:
    """Of every type and shape that is sent, empty ones among them."""
    arrays: dict[str, Any] = {
        "ids": np.arange(6, dtype=np.int64).reshape(1, 2, 3),
        "on": np.array([True, False, True]),
        "none": np.zeros((0, 4)),
        "bias": np.array([[1.5, -2.0]]),
        "one": np.array(7, dtype=np.int64),
    }
    numbers = Packed.of(arrays, "cpu")
    found = numbers.views(numbers.to("cpu"))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].numpy(), array)
        assert found[name].numpy().dtype == array.dtype


def test_a_shape_is_recorded_when_it_comes_again_and_replayed_after_that() -> None:
    """With the numbers of each call."""
    rerun = Rerun()
    replays = Replays(device="cpu", recorder=rerun)
    counts = []
    for number in range(RECORDED_AT + 3):
        assert replays.run("key", packed(number), double).item() == 2 * number
        counts.append((rerun.recorded, rerun.replayed))
    assert counts == [(0, 0), (1, 0), (1, 1), (1, 2), (1, 3)]


def test_without_a_recorder_nothing_is_kept() -> None:
    """A processor does everything anew."""
    replays = Replays(device="cpu")
    assert [replays.run("key", packed(n), double).item() for n in range(4)] == [0, 2, 4, 6]
    assert not replays.kept


def test_the_least_recently_used_shapes_are_forgotten() -> None:
    """So that texts of all lengths do not fill the device."""
    replays = Replays(device="cpu", recorder=Rerun(), most=2)
    for key in ("a", "b", "a", "b", "c", "a", "c"):
        replays.run(key, packed(1), double)
    assert list(replays.kept) == ["a", "c"]


def test_what_cannot_be_recorded_is_done_as_usual_and_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets an answer, and the log a line."""
    tried = []

    class Broken:
        def record(self, act: Callable[[], T]) -> tuple[T, Callable[[], None]]:
            tried.append(act)
            message = "operation not permitted when stream is capturing"
            raise RuntimeError(message)

    replays = Replays(device="cpu", recorder=Broken())
    assert [replays.run("key", packed(n), double).item() for n in range(5)] == [0, 2, 4, 6, 8]
    assert len(tried) == 1
    assert "shape_not_recorded" in caplog.text


def test_memory_that_runs_out_while_recording_is_the_callers_business() -> None:
    """It is split like any other batch that does not fit."""

    class Full:
        def record(self, _: Callable[[], T]) -> tuple[T, Callable[[], None]]:
            raise torch.OutOfMemoryError

    replays = Replays(device="cpu", recorder=Full())
    replays.run("key", packed(1), double)
    with pytest.raises(torch.OutOfMemoryError):
        replays.run("key", packed(1), double)


def test_a_call_that_ends_half_way_leaves_nothing_behind() -> None:
    """Half of a recording is none: the next call begins again."""
    rerun = Rerun()
    replays = Replays(device="cpu", recorder=rerun)

    def act(call: Call, *, fail: bool) -> float:
        call.stage(packed(1), double)
        if fail:
            raise LookupError
        return call.stage(packed(2), double).item()

    for fail in (False, True, False, False):
        if fail:
            with pytest.raises(LookupError):
                replays.attempt("key", lambda call: act(call, fail=True))
            assert not replays.kept
        else:
            assert replays.attempt("key", lambda call: act(call, fail=False)) == 4
    assert len(replays.kept["key"]) == 2
    assert rerun.replayed == 2


WORDS = "bert that labels words"


@pytest.fixture(scope="module")
def labeller(tmp_path_factory: pytest.TempPathFactory) -> TorchBackend:
    """A tiny BERT whose rows are read where each one's word is."""
    backend = load_model(make_model("bert", tmp_path_factory.mktemp("words"), words=True)).backend
    assert isinstance(backend, TorchBackend)
    return backend


@pytest.fixture
def fixed(zoo: Zoo, labeller: TorchBackend, request: pytest.FixtureRequest) -> Iterator[TorchBackend]:
    """A family's backend with fixed shapes, as on CUDA."""
    backend = labeller if request.param == WORDS else zoo[request.param].backend
    backend.fixed = True
    try:
        yield backend
    finally:
        backend.fixed, backend.replays = False, Replays(device="cpu")


@pytest.mark.parametrize("fixed", [*FAMILIES, WORDS], indirect=True)
def test_recorded_rows_and_captures_depend_on_the_numbers_of_their_call_alone(fixed: TorchBackend) -> None:
    """In every family, to the last bit."""
    rerun = Rerun()
    replays = Replays(device="cpu", recorder=rerun)
    found = try_replays(fixed, replays)
    assert found.passed, found.detail
    assert fixed.replays is replays
    assert rerun.recorded >= 6  # predictions, rows, and forwards and backwards of a capture; of two lengths
    assert rerun.replayed > rerun.recorded


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_images_are_recorded_too(tmp_path: Path, family: str) -> None:
    """Their shapes are fixed as they are; with the mask given as a whole, answers are those of the stock model."""
    backend = load_model(make_vision_model(family, tmp_path)).backend
    assert isinstance(backend, ImageBackend)
    rows = variants(backend.synthetic(0), [Row(), Row(edit=AttentionEdit.UNIFORM, layers=(1,))])
    plain = backend.run(rows).logits
    backend.fixed = True
    close(backend.run(rows).logits.numpy(), plain.numpy())
    found = try_replays(backend, Replays(device="cpu", recorder=Rerun()))
    assert found.passed, found.detail


@pytest.mark.parametrize("fixed", ["bert"], indirect=True)
def test_what_is_recorded_with_a_switch_is_not_replayed_without_it(fixed: TorchBackend) -> None:
    """Sharing the last layer is no number of a call: it is in the key."""
    rows = variants(fixed.synthetic(11), [Row(), Row()])
    fixed.replays = Replays(device="cpu", recorder=Rerun())
    before = fixed.readout_row_suffices
    try:
        for suffices in (True, False):
            fixed.readout_row_suffices = suffices
            for _ in range(RECORDED_AT):
                fixed.run(rows)
    finally:
        fixed.readout_row_suffices = before
    assert len(fixed.replays.kept) == 2


def test_replays_that_change_a_number_are_switched_off(zoo: Zoo) -> None:
    """The self-test finds them, and the model is run as usual."""

    class Wrong(Rerun):
        def record(self, act: Callable[[], T]) -> tuple[T, Callable[[], None]]:
            found, _ = super().record(act)
            return found, lambda: None  # the second input gets the answer of the first

    backend = zoo["bert"].backend
    before = backend.replays
    found = try_replays(backend, Replays(device="cpu", recorder=Wrong()))
    assert not found.passed
    assert not found.required
    assert backend.replays is before


@pytest.mark.parametrize("fixed", [*FAMILIES, WORDS], indirect=True)
@pytest.mark.parametrize("tokens", [3, 16, 21, 140])
def test_padding_to_a_fixed_shape_changes_numbers_by_rounding_alone(fixed: TorchBackend, tokens: int) -> None:
    """Rows of every kind, maps, and attention as it is."""
    encoding = fixed.synthetic(tokens)
    removed = np.arange(len(encoding.units)) % 2 == 0
    rows = [
        Row(readout=True),
        Row(removed=removed),
        Row(removed=removed, operator=RemovalOperator.HIDDEN_KEYS),
        Row(removed=removed, operator=RemovalOperator.DELETION),
        Row(edit=AttentionEdit.UNIFORM, readout=True),
        Row(edit=AttentionEdit.PERMUTED, seed=3),
        Row(edit=AttentionEdit.PERMUTED, seed=4, layers=(fixed.shape.layers - 1,)),
        Row(edit=AttentionEdit.KNOCKED_OUT, units=np.arange(len(encoding.units)) == 0),
    ]
    request = CaptureRequest(
        maps=frozenset(DEFAULT_MAPS) | {MapKind.ATTENTION_FLOW},
        options=MapOptions(),
        decide=lambda logits: Decision(task=fixed.task, target=int(np.argmax(logits))),
        attention=AttentionSelection(),
    )
    tiny = LoadedModel(backend=fixed, family="", labels=(), digest="", self_tests=())
    engine = Engine(models={"tiny": tiny})
    found = [(engine.run("tiny", variants(encoding, rows)), engine.capture("tiny", encoding, request))]
    predicted = [engine.run("tiny", variants(encoding, [Row()]), stock=True)[0].logits]
    fixed.fixed = False
    predicted.append(engine.run("tiny", variants(encoding, [Row()]), stock=True)[0].logits)
    close(*predicted)
    found.append((engine.run("tiny", variants(encoding, rows)), engine.capture("tiny", encoding, request)))
    for a, b in zip(found[0][0], found[1][0], strict=True):
        close(a.logits, b.logits)
        assert a.maps.keys() == b.maps.keys()
        for kind, scores in a.maps.items():
            close(scores, b.maps[kind])
    padded, plain = found[0][1], found[1][1]
    assert padded.attention_is_uniform == plain.attention_is_uniform
    for one, other in zip(padded.maps, plain.maps, strict=True):
        close(one.scores, other.scores)
        assert one.dropped_mass == pytest.approx(other.dropped_mass, abs=1e-4)
    assert padded.layers is not None
    assert plain.layers is not None
    close(padded.layers, plain.layers)
    assert padded.attention is not None
    assert plain.attention is not None
    assert padded.attention.shape == plain.attention.shape
    close(np.frombuffer(padded.attention.data, "<f4"), np.frombuffer(plain.attention.data, "<f4"))


def close(found: Floats, expected: Floats) -> None:
    """Equal up to rounding in float32."""
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-4)
