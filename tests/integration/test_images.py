"""Pictures through the real client: a ViT that has learnt handwritten digits, from file to flag and record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from transformers import pipeline

from rollcall_client import (
    CheckKind,
    CheckLevel,
    CheckOutcome,
    Client,
    Explanation,
    Flag,
    InvalidArgument,
    MapKind,
    Modality,
    RecordMode,
    RemovalOperator,
    ReplayOutcome,
)
from rollcall_client.audit import AuditClient
from rollcall_client.html import render_page
from rollcall_client.overlay import render_overlay
from tests.integration.conftest import CALL_SECONDS, Gallery
from tests.pictures import SEEN, digits, png, prepared
from tests.waiting import wait_until

IMAGES, TARGETS = digits()
ASKED = tuple(range(SEEN, SEEN + 30))


@pytest.fixture
def client(gallery: Gallery) -> Iterator[Client]:
    """Talk to the server with the pictures' model."""
    with Client(gallery.process.target, timeout=CALL_SECONDS) as opened:
        yield opened


@pytest.fixture(scope="module")
def explained(gallery: Gallery) -> list[Explanation]:
    """Thirty digits that the model has never seen, each with every map."""
    with Client(gallery.process.target, timeout=CALL_SECONDS) as client:
        maps = client.model().maps
        return [client.explain_image(png(IMAGES[number]), maps=maps) for number in ASKED]


def test_the_model_says_what_it_reads(client: Client, gallery: Gallery) -> None:
    """Images, experimentally: its flags rest on thresholds that nobody calibrated on images."""
    model = client.model("photos")
    assert gallery.accuracy > 0.8
    assert (model.modality, model.experimental, model.text_pairs) == (Modality.IMAGE, True, False)
    ways = (RemovalOperator.MEAN_PATCH, RemovalOperator.HIDDEN_KEYS, RemovalOperator.BLURRED_PATCH)
    assert model.operators == ways


def test_predictions_are_those_of_the_stock_pipeline(client: Client, gallery: Gallery) -> None:
    """The same files and the same pictures through transformers' own pipeline give the same probabilities."""
    stock = pipeline("image-classification", model=str(gallery.directory), device="cpu")
    for number in ASKED[:5]:
        data = png(IMAGES[number])
        expected = {each["label"]: each["score"] for each in stock(Image.open(BytesIO(data)), top_k=10)}
        answer = client.predict_image(data).prediction
        found = dict(zip(answer.labels, answer.probabilities, strict=True))
        assert found == pytest.approx(expected, abs=1e-5)


def test_pictures_are_explained_in_blocks(explained: list[Explanation]) -> None:
    """Most digits are recognised; each answer has sixteen blocks that tile the picture, and is marked experimental."""
    right = [f"digit {TARGETS[n]}" == e.prediction.predicted for n, e in zip(ASKED, explained, strict=True)]
    assert sum(right) >= 24
    for answer in explained:
        assert answer.image_size == (32, 32)
        assert answer.experimental
        boxes = [unit.box for unit in answer.units if unit.box]
        assert len(boxes) == 16
        assert sum((box.right - box.left) * (box.bottom - box.top) for box in boxes) == 32 * 32
        assert all(len(each.scores) == 16 for each in answer.attributions)
        measured = [each.verdict.alignment for each in answer.attributions if each.verdict.alignment]
        used = {part.operator for alignment in measured for part in alignment.per_operator}
        assert used == {RemovalOperator.MEAN_PATCH, RemovalOperator.HIDDEN_KEYS}


def test_flags_tell_maps_apart(explained: list[Explanation]) -> None:
    """Maps made of measured removals are faithful more often than last-layer attention; the instrument is live."""
    faithful = {
        kind: sum(each.verdict.flag is Flag.FAITHFUL for e in explained for each in e.attributions if each.map is kind)
        for kind in (MapKind.RAW_ATTENTION, MapKind.LEAVE_ONE_OUT)
    }
    assert faithful[MapKind.LEAVE_ONE_OUT] > faithful[MapKind.RAW_ATTENTION]
    assert faithful[MapKind.LEAVE_ONE_OUT] > len(ASKED) / 2
    for answer in explained:
        (live,) = (check for check in answer.verdict.checks if check.kind is CheckKind.INSTRUMENT)
        assert live.outcome is CheckOutcome.SUPPORTS


def test_the_overlay_is_the_map(explained: list[Explanation]) -> None:
    """Another decoder reads a picture of the image's size whose opacity in each block follows the block's weight."""
    answer = next(each for each in explained if each.shown.verdict.flag is Flag.FAITHFUL)
    opened = Image.open(BytesIO(render_overlay(answer)))
    opacity = np.asarray(opened.convert("RGBA"))[..., 3]
    assert opened.size == answer.image_size
    weights = np.array(answer.shown.scores)
    for unit, weight in zip(answer.units, weights, strict=True):
        assert unit.box is not None
        block = opacity[unit.box.top : unit.box.bottom, unit.box.left : unit.box.right]
        assert (block == block[0, 0]).all()
        assert abs(int(block[0, 0]) - 0.7 * 255 * weight / weights.max()) <= 1
    page = render_page(answer)
    assert page.count("data:image/png;base64,") >= 3
    assert "Explanations of such a model are experimental" in page


def test_prepared_pixels_get_the_same_answer(client: Client, explained: list[Explanation]) -> None:
    """A backend that prepares its pictures itself sends what the model reads, and gets the same flags and numbers."""
    values = prepared(IMAGES[ASKED[0] : ASKED[0] + 1])[0]
    maps = client.model().maps
    answer = client.explain_pixels(values, maps=maps)
    assert answer.attributions == explained[0].attributions
    assert answer.effects == explained[0].effects
    assert client.predict_pixels(values).prediction == answer.prediction
    assert answer.image == b""


def test_a_picture_is_looked_at_closely(client: Client) -> None:
    """Thorough checks remove patches in a third way, and have no word classes to ask about."""
    answer = client.explain_image(png(IMAGES[ASKED[0]]), level=CheckLevel.THOROUGH)
    found = {check.statistic: check for check in answer.verdict.checks}
    assert found["alignment_blurred_patch"].rows > 0
    assert found["p_up_within_thirds"].outcome is not CheckOutcome.ERRORED
    assert "p_up_within_word_classes" not in found
    assert not [check for check in answer.verdict.checks if check.outcome is CheckOutcome.ERRORED]


def test_the_record_of_a_picture_is_worked_out_again(client: Client, gallery: Gallery) -> None:
    """The record holds the file, sealed, and its replay is the same to the last bit."""
    answer = client.explain_image(png(IMAGES[ASKED[1]]))
    assert answer.audit is not None
    assert answer.audit.mode is RecordMode.FULL
    record = answer.audit.record_id
    with AuditClient(gallery.process.target, timeout=CALL_SECONDS) as auditor:
        wait_until(lambda: len(auditor.search(f'record = "{record}"').records) == 1)
        replayed = auditor.replay(record, "routine")
    assert replayed.outcome is ReplayOutcome.EXACT, replayed


BAD: dict[str, tuple[Callable[[Client], object], str]] = {
    "text": (lambda client: client.explain("a seven"), "input"),
    "no picture": (lambda client: client.explain_image(b"seven"), "image.data"),
    "an empty file": (lambda client: client.explain_image(b""), "image.data"),
    "pixels of another size": (
        lambda client: client.explain_pixels(np.zeros((3, 8, 8), dtype=np.float32)), "pixels.values.shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_by_its_field(client: Client, name: str) -> None:
    """Whoever sends what this model cannot read learns which field is wrong."""
    ask, field = BAD[name]
    with pytest.raises(InvalidArgument) as refused:
        ask(client)
    assert field in dict(refused.value.violations)
