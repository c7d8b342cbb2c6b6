"""From a file to pixels and units: what the model's own preprocessing makes of it, and what is not let in."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import AutoImageProcessor

from rollcall.backends.images import MOST_PIXELS, Grid, ImageEncoder, View, block_side, blocks, image_encoder
from rollcall.domain.errors import InvalidInput, ModelRejected
from rollcall.domain.inputs import ImageInput, ModelInput, PixelsInput, TextInput, TokensInput, Unit
from rollcall.domain.rows import RemovalOperator
from tests.pictures import PATCH, SIDE, make_vision_model, png

CROPPED: dict[str, Any] = {
    "image_processor_type": "BitImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 40},
    "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE},
}


def encoder(directory: Path, *, max_units: int = 64, **preprocessing: Any) -> ImageEncoder:  # noqa: ANN401 - fields of a file
    """The encoder of a tiny ViT with this preprocessing."""
    make_vision_model("vit", directory, preprocessing=preprocessing)
    config = type("Config", (), {"num_channels": 3, "patch_size": PATCH})
    processor = AutoImageProcessor.from_pretrained(directory, backend="pil")  # type: ignore[no-untyped-call]
    return image_encoder(processor, config, prefix=1, max_units=max_units)


def violation(given: ModelInput, reads: ImageEncoder) -> tuple[str, str]:
    """The field and the description of what is refused."""
    with pytest.raises(InvalidInput) as refused:
        reads.encode(given)
    (one,) = refused.value.violations
    return one.field, one.description


def chunk(name: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def claiming(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + data + chunk(b"IEND", b"")


def test_pixels_are_scaled_and_normalised_as_the_files_say(tmp_path: Path) -> None:
    """An image of the model's own size comes out by the formula, channel by channel."""
    colours = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3))
    found = encoder(tmp_path).encode(ImageInput(data=png(colours))).pixels
    expected = (colours / 255 - [0.5, 0.4, 0.3]) / [0.5, 0.6, 0.7]
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1e-6)


def test_a_jpeg_and_a_grey_picture_are_read_too(tmp_path: Path) -> None:
    """JPEG comes out as its decoder gives it; a grey picture has three equal channels."""
    reads = encoder(tmp_path, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    grey = np.tile(np.arange(0, 256, 256 // SIDE), (SIDE, 1))
    pixels = reads.encode(ImageInput(data=png(grey))).pixels
    assert pixels is not None
    red, green, blue = pixels
    np.testing.assert_array_equal(red, green)
    np.testing.assert_array_equal(red, blue)
    jpeg = reads.encode(ImageInput(data=png(grey, "JPEG"))).pixels
    assert jpeg is not None
    assert np.abs(jpeg[0] - red).max() < 0.1


@pytest.mark.parametrize("size", [(64, 48), (45, 90), (32, 32), (100, 61)])
@pytest.mark.parametrize("preprocessing", [{}, CROPPED], ids=["resized", "cropped"])
def test_a_unit_is_where_its_box_says(tmp_path: Path, preprocessing: dict[str, Any], size: tuple[int, int]) -> None:
    """A picture that is bright inside one unit's box alone is brightest in that unit's patches, for every unit."""
    reads = encoder(tmp_path, max_units=16, **preprocessing)
    width, height = size
    dark = np.zeros((height, width), dtype=np.uint8)
    units = reads.encode(ImageInput(data=png(dark))).units
    assert len(units) == 16
    for number, unit in enumerate(units):
        assert unit.box is not None
        lit = dark.copy()
        lit[unit.box.top : unit.box.bottom, unit.box.left : unit.box.right] = 255
        encoding = reads.encode(ImageInput(data=png(lit)))
        assert encoding.pixels is not None
        assert encoding.image_size == size
        patches = encoding.pixels[0].reshape(SIDE // PATCH, PATCH, SIDE // PATCH, PATCH).mean(axis=(1, 3)).reshape(-1)
        brightness = [patches[encoding.unit_of_token[1:] == each].mean() for each in range(16)]
        assert int(np.argmax(brightness)) == number


def test_boxes_cover_what_the_model_sees(tmp_path: Path) -> None:
    """All of a resized picture; of a cropped one the middle, up to rounding."""
    data = png(np.zeros((50, 100), dtype=np.uint8))
    assert hull(encoder(tmp_path / "a").encode(ImageInput(data=data)).units) == (0, 0, 100, 50)
    # 100 x 50 becomes 80 x 40, of which 32 x 32 are seen from 24, 4 on: 30, 5 to 70, 45 in the picture.
    assert hull(encoder(tmp_path / "b", **CROPPED).encode(ImageInput(data=data)).units) == (30, 5, 70, 45)


def hull(units: tuple[Unit, ...]) -> tuple[int, int, int, int]:
    """The rectangle around all boxes, none of which overlaps another."""
    boxes = [unit.box for unit in units if unit.box is not None]
    found = (
        min(box.left for box in boxes), min(box.top for box in boxes),
        max(box.right for box in boxes), max(box.bottom for box in boxes),
    )  # fmt: skip
    area = sum((box.right - box.left) * (box.bottom - box.top) for box in boxes)
    assert area == (found[2] - found[0]) * (found[3] - found[1])
    return found


def test_a_turned_picture_is_turned_upright(tmp_path: Path) -> None:
    """A camera's note in the file counts, for pixels and boxes alike."""
    reads = encoder(tmp_path)
    upright = np.zeros((40, 20, 3), dtype=np.uint8)
    upright[:10] = 255
    held = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(np.rot90(upright)).save(held, format="PNG", exif=exif)
    turned, plain = reads.encode(ImageInput(data=held.getvalue())), reads.encode(ImageInput(data=png(upright)))
    assert turned.image_size == plain.image_size == (20, 40)
    assert turned.pixels is not None
    assert plain.pixels is not None
    np.testing.assert_array_equal(turned.pixels, plain.pixels)


@pytest.mark.parametrize(
    ("rows", "columns", "most", "side"),
    [(14, 14, 64, 2), (8, 8, 64, 1), (16, 16, 64, 2), (37, 37, 64, 5), (3, 5, 2, 3), (1, 9, 4, 3)],
)
def test_blocks_are_even_and_no_more_than_wanted(rows: int, columns: int, most: int, side: int) -> None:
    """Patches are grouped in squares, the smallest that will do, and no block is more than one patch larger."""
    grid = Grid(rows=rows, columns=columns, patch=1, prefix=1)
    assert block_side(grid, most) == side
    reads = ImageEncoder(processor=None, grid=grid, max_units=most)
    encoding = reads.encoding(np.zeros((3, rows, columns), dtype=np.float32), reads.whole())
    assert len(encoding.units) <= most
    assert encoding.grouped is (side > 1)
    assert sorted(set(encoding.unit_of_token.tolist())) == [-1, *range(len(encoding.units))]
    for patches in (rows, columns):
        sizes = np.bincount(blocks(patches, side))
        assert sizes.max() - sizes.min() <= 1
        assert sizes.max() <= side


def test_prefix_tokens_belong_to_no_unit() -> None:
    """Neither the token that the classifier reads nor a register is a place in the picture."""
    reads = ImageEncoder(processor=None, grid=Grid(rows=2, columns=2, patch=1, prefix=5), max_units=64)
    view = View(left=0, top=0, width=2, height=2, size=(2, 2))
    encoding = reads.encoding(np.zeros((3, 2, 2), dtype=np.float32), view)
    assert encoding.unit_of_token.tolist() == [-1] * 5 + [0, 1, 2, 3]
    assert [unit.text for unit in encoding.units] == [
        "row 1, column 1", "row 1, column 2", "row 2, column 1", "row 2, column 2",
    ]  # fmt: skip
    assert encoding.removals.usual == (RemovalOperator.MEAN_PATCH, RemovalOperator.HIDDEN_KEYS)


HOSTILE = {
    "no image": (b"hello", "no image"),
    "nothing": (b"", "no image"),
    "another format": (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "no image"),
    "more pixels than are read": (claiming(5000, 5000), "at most"),
    "a bomb": (claiming(100_000, 100_000), "more than"),
    "something in between": (claiming(12_000, 12_000), "more than|at most"),
    "a thread": (claiming(100_000, 1), "times the other"),
    "cut off": (png(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)))[:500], "damaged"),
    "less than it claims": (claiming(100, 100), "damaged"),
    "a text that unpacks to a gigabyte": (
        claiming(10, 10, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26)))), "damaged|no image",
    ),
    "no pixels": (claiming(0, 10), "no image|damaged|times"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """It is the caller's mistake, at image.data, and is not unpacked first where it is too large."""
    data, expected = HOSTILE[name]
    field, description = violation(ImageInput(data=data), encoder(tmp_path))
    assert field == "image.data"
    assert any(part in description for part in expected.split("|"))
    assert str(MOST_PIXELS) in description or "at most" not in description


def test_prepared_pixels_are_taken_as_they_are(tmp_path: Path) -> None:
    """They must have the model's shape and be numbers; their units are in pixels of their own."""
    reads = encoder(tmp_path)
    values = np.random.default_rng(0).standard_normal((3, SIDE, SIDE)).astype("<f4")
    encoding = reads.encode(PixelsInput(shape=values.shape, data=values.tobytes()))
    assert encoding.pixels is not None
    np.testing.assert_array_equal(encoding.pixels, values)
    assert encoding.image_size == (SIDE, SIDE)
    assert violation(PixelsInput(shape=(3, 4, 4), data=bytes(192)), reads)[0] == "pixels.values.shape"
    values[0, 0, 0] = np.nan
    assert violation(PixelsInput(shape=values.shape, data=values.tobytes()), reads)[0] == "pixels.values.data"


@pytest.mark.parametrize("given", [TextInput(text="a cat"), TokensInput(input_ids=(1, 2))])
def test_a_text_is_no_image(tmp_path: Path, given: ModelInput) -> None:
    """Whoever asks an image model about a text is told what it reads."""
    assert violation(given, encoder(tmp_path)) == ("input", "this model reads images: send image or pixels")


@pytest.mark.parametrize(
    ("preprocessing", "reason"),
    [
        ({"image_processor_type": "SegformerImageProcessor"}, "prepared by SegformerImageProcessor"),
        ({**CROPPED, "do_center_crop": False}, "several sizes"),
        ({"size": {"height": 30, "width": 32}}, "do not fall into square patches"),
    ],
)
def test_preprocessing_that_moves_pixels_elsewhere_is_refused(
    tmp_path: Path, preprocessing: dict[str, Any], reason: str
) -> None:
    """Where nobody could say what part of the picture a patch shows, there is no explanation of it."""
    with pytest.raises(ModelRejected, match=reason):
        encoder(tmp_path, **preprocessing)
