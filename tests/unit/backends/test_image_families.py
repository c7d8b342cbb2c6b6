"""Every family of image classifiers: rows against the stock model on images that numpy made, maps against formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageClassification

from rollcall.backends.base import CaptureRequest, variants
from rollcall.backends.image_backend import ImageBackend
from rollcall.domain.decision import Decision, Task
from rollcall.domain.inputs import Encoding, Modality, Pixels, PixelsInput
from rollcall.domain.maps import READOUT_MAPS, Bools, Floats, MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row
from rollcall.domain.verdicts import Scope
from rollcall.models.families import FAMILIES
from rollcall.models.loading import LoadedModel, load_model
from tests.pictures import FAMILIES as TINY
from tests.pictures import PATCH, PREFIXES, SIDE, make_vision_model

Tensor = torch.Tensor
CELLS = SIDE // PATCH


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A tiny model as the service loads it, and the stock library's own view of the same files."""

    family: str
    directory: Path

    @cached_property
    def loaded(self) -> LoadedModel:
        """Loaded and proved by the service, with 16 units of 2 x 2 patches."""
        return load_model(self.directory, max_units=16)

    @property
    def backend(self) -> ImageBackend:
        """What runs it."""
        assert isinstance(self.loaded.backend, ImageBackend)
        return self.loaded.backend

    @cached_property
    def stock(self) -> Any:  # noqa: ANN401 - a model whose parts have names of their own in every family
        """The stock model with explicit attention."""
        return AutoModelForImageClassification.from_pretrained(self.directory, attn_implementation="eager")

    @cached_property
    def encoding(self) -> Encoding:
        """A picture of noise."""
        values = np.random.default_rng(1).standard_normal((3, SIDE, SIDE)).astype("<f4")
        return self.backend.encode(PixelsInput(shape=values.shape, data=values.tobytes()))

    @property
    def pixels(self) -> Pixels:
        """Its pixels."""
        assert self.encoding.pixels is not None
        return self.encoding.pixels

    def answer(self, pixels: Pixels, **more: Tensor) -> Floats:
        """The stock model's logits [C]."""
        with torch.no_grad():
            logits: Tensor = self.stock(pixel_values=torch.from_numpy(pixels[None]), **more).logits[0]
        return logits.double().numpy()

    def row(self, row: Row) -> Floats:
        """The service's logits [C] of one row, among others."""
        rows = variants(self.encoding, [Row(), row, Row(edit=AttentionEdit.UNIFORM), Row(readout=True)])
        return self.backend.run(rows).logits[1].double().numpy()


@pytest.fixture(scope="module", params=TINY)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """One family's model."""
    family = str(request.param)
    return Subject(family=family, directory=make_vision_model(family, tmp_path_factory.mktemp(family)))


def removed() -> tuple[Bools, Bools]:
    """A third of the units, and the pixels [SIDE, SIDE] of their patches."""
    units = np.arange(16) % 3 == 0
    return units, np.kron(units.reshape(4, 4), np.ones((SIDE // 4, SIDE // 4), dtype=np.bool_))


def test_every_image_family_has_a_tiny_model() -> None:
    """A family that is added without a test here is noticed."""
    assert {name for name, family in FAMILIES.items() if family.modality is Modality.IMAGE} == set(TINY)


def test_a_family_is_proved_and_explained(subject: Subject) -> None:
    """All required self-tests pass, all maps but the decomposition are there, and no prefix token is a unit.

    CLIP's classifier reads no class token, so that no map of what it attends to is made, and the reason is said.
    """
    assert subject.loaded.failed == ()
    unread = set(READOUT_MAPS) if subject.family == "clip" else set()
    assert set(subject.loaded.maps) == set(MapKind) - {MapKind.DECOMPOSITION} - unread
    assert {each.kind for each in subject.loaded.lacking} == unread
    assert all("mean of all patches" in each.reason for each in subject.loaded.lacking)
    assert subject.loaded.scope is (Scope.INPUT_ONLY if unread else Scope.ALL_LAYERS)
    assert (subject.encoding.unit_of_token < 0).sum() == PREFIXES[subject.family]
    assert len(subject.encoding.units) == 16


def test_a_prediction_is_the_stock_models(subject: Subject) -> None:
    """To the last bit, by fused attention as the service uses it."""
    stock = AutoModelForImageClassification.from_pretrained(subject.directory, attn_implementation="sdpa")
    with torch.no_grad():
        expected = stock(pixel_values=torch.from_numpy(subject.pixels[None])).logits
    found = subject.backend.predict(variants(subject.encoding, [Row()]))
    assert torch.equal(found, expected)


def test_removed_patches_take_the_mean_colour(subject: Subject) -> None:
    """The row is the stock model's answer to the picture that numpy filled."""
    units, gone = removed()
    filled = np.where(gone, subject.pixels.mean(axis=(1, 2), keepdims=True), subject.pixels).astype(np.float32)
    found = subject.row(Row(removed=units, operator=RemovalOperator.MEAN_PATCH))
    np.testing.assert_allclose(found, subject.answer(filled), atol=1e-5, rtol=1e-5)
    assert np.abs(found - subject.answer(subject.pixels)).max() > 1e-3


def test_removed_patches_are_blurred(subject: Subject) -> None:
    """Each pixel is the mean over a square of three patches and a pixel around it, as far as the picture reaches."""
    units, gone = removed()
    reach, blurred = 3 * PATCH // 2, np.empty_like(subject.pixels)
    for y in range(SIDE):
        for x in range(SIDE):
            square = subject.pixels[:, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            blurred[:, y, x] = square.mean(axis=(1, 2))
    expected = subject.answer(np.where(gone, blurred, subject.pixels))
    found = subject.row(Row(removed=units, operator=RemovalOperator.BLURRED_PATCH))
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_hidden_patches_are_as_if_they_were_not_there(subject: Subject) -> None:
    """For the class token the answer is that of the stock model whose patches were taken out behind the embeddings."""
    if subject.family == "clip" or subject.family.startswith("dinov2"):
        # Its classifier reads the mean of all patches as well, hidden ones included: hiding does not decide there.
        assert RemovalOperator.HIDDEN_KEYS not in subject.encoding.removals.usual
        assert subject.encoding.removals.beside is RemovalOperator.HIDDEN_KEYS
        return
    units, _ = removed()
    kept = torch.from_numpy(~subject.encoding.tokens_of(units))
    hook = subject.stock.base_model.embeddings.register_forward_hook(lambda *a: a[2][:, kept])
    try:
        expected = subject.answer(subject.pixels)
    finally:
        hook.remove()
    found = subject.row(Row(removed=units, operator=RemovalOperator.HIDDEN_KEYS))
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_rows_of_several_images_share_a_batch(subject: Subject) -> None:
    """Each image's rows are its own, whichever way they were removed."""
    other = subject.backend.synthetic(0, seed=5)
    units, _ = removed()
    rows = [Row(), *(Row(removed=units, operator=operator) for operator in other.removals.every)]
    first, second = variants(subject.encoding, rows), variants(other, rows)
    mixed = [each for pair in zip(first, second, strict=True) for each in pair]
    together = subject.backend.run(mixed).logits
    for alone, found in ((first, together[0::2]), (second, together[1::2])):
        np.testing.assert_allclose(found, subject.backend.run(alone).logits, atol=1e-5, rtol=1e-5)


def capture(subject: Subject, *kinds: MapKind) -> Any:  # noqa: ANN401 - a capture with what was asked for
    """The untouched picture with its maps."""
    request = CaptureRequest(
        maps=frozenset(kinds),
        options=MapOptions(),
        decide=lambda logits: Decision(task=Task.SINGLE_LABEL, target=int(np.argmax(logits))),
        attention=None,
    )
    return subject.backend.capture(subject.encoding, request)


def test_norms_are_those_of_what_each_token_adds(subject: Subject) -> None:
    """Against the definition, vector by vector, from the stock model's own modules (Kobayashi et al. 2021)."""
    if subject.family == "clip":
        pytest.skip("CLIP HAS NO MAP OF NORMS: its classifier reads no class token")
    found = capture(subject, MapKind.NORM_ROLLOUT).norms[1]
    layers = (
        subject.stock.base_model.encoder.layer if subject.family.startswith("dino") else subject.stock.base_model.layers
    )
    block = layers[1]
    seen: dict[str, Tensor] = {}
    hooks = [
        block.register_forward_pre_hook(keep(seen, "input")),
        block.attention.v_proj.register_forward_hook(lambda *a: seen.update(value=a[2][0])),
        block.attention.register_forward_hook(lambda *a: seen.update(weights=a[2][1][0])),
    ]
    subject.answer(subject.pixels)
    for hook in hooks:
        hook.remove()
    gain = block.layer_scale1.lambda1 if subject.family.startswith("dino") else torch.ones(32)
    value = seen["value"].view(-1, 4, 8)
    output = block.attention.o_proj.weight.view(32, 4, 8)
    added = torch.stack([value[:, head] @ output[:, head].T for head in range(4)]) * gain
    vectors = torch.einsum("hqk,hke->qke", seen["weights"], added)
    vectors[range(len(value)), range(len(value))] += seen["input"]
    expected = vectors.norm(dim=-1)
    torch.testing.assert_close(found, expected / expected.sum(dim=-1, keepdim=True), atol=1e-5, rtol=1e-4)


def keep(seen: dict[str, Tensor], name: str) -> Callable[..., None]:
    """A pre-hook that keeps the first argument."""

    def remember(_: object, arguments: tuple[Tensor, ...]) -> None:
        seen[name] = arguments[0][0]

    return remember


def test_gradients_along_the_way_add_up_to_the_margin(subject: Subject) -> None:
    """Integrated gradients at the patches sum to the margin's fall when every patch is filled (completeness)."""
    logits = subject.answer(subject.pixels)
    decision = Decision(task=Task.SINGLE_LABEL, target=int(np.argmax(logits)))
    count = 4000 if subject.family == "clip" else 200  # whose last states are not normalised: the way is rough
    points = [(i + 0.5) / count for i in range(count)]
    parts = [points[start : start + 200] for start in range(0, count, 200)]
    found = [subject.backend.path_gradients(subject.encoding, decision, part).along for part in parts]
    along = torch.cat([part.clone() for part in found]).double().numpy()
    everything = np.ones(16, dtype=np.bool_)
    masked = subject.row(Row(removed=everything, operator=RemovalOperator.MEAN_PATCH))
    fall = decision.margin(logits) - decision.margin(masked)
    assert along.mean(axis=0).sum() == pytest.approx(fall, abs=0.02 * max(1.0, abs(fall)))
    assert not along[:, : PREFIXES[subject.family]].any()


def test_hidden_patches_of_clip_are_masked_in_every_layer(tmp_path: Path) -> None:
    """The row is the stock model's answer under a mask that is added to its attention, in the encoder's own terms."""
    subject = Subject(family="clip", directory=make_vision_model("clip", tmp_path))
    units, _ = removed()
    hidden = torch.from_numpy(subject.encoding.tokens_of(units))
    mask = torch.zeros(1, 1, 1, len(hidden)).masked_fill(hidden, float("-inf"))
    found = subject.row(Row(removed=units, operator=RemovalOperator.HIDDEN_KEYS))
    np.testing.assert_allclose(found, subject.answer(subject.pixels, attention_mask=mask), atol=1e-5, rtol=1e-5)
    assert np.abs(found - subject.answer(subject.pixels)).max() > 1e-3


def test_an_operator_of_texts_is_no_operator_of_images(subject: Subject) -> None:
    """A row that would silently remove nothing fails."""
    with pytest.raises(ValueError, match="MASK_TOKEN removes nothing from an image"):
        subject.row(Row(removed=np.ones(16, dtype=np.bool_), operator=RemovalOperator.MASK_TOKEN))
