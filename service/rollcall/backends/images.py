"""From an image to the pixels that a model reads, by the model's own preprocessing, and to its units.

Units are blocks of neighbouring patches, as many as may be at most, and where each one is in the image as it was sent.
Files are hostile until proven otherwise: only PNG and JPEG are looked at, and their size is known before they are
unpacked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from rollcall.domain.errors import InvalidInput, ModelRejected
from rollcall.domain.inputs import Box, Encoding, ImageInput, ModelInput, Pixels, PixelsInput, Unit
from rollcall.domain.maps import Ints
from rollcall.domain.rows import IMAGE_REMOVALS, Removals

FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 4096 * 4096
"""Of a file: unpacked these are 50 MB."""
MOST_STRETCHED = 50
"""Times that an image may be as long as it is broad: preprocessing enlarges the short side."""
CHANNELS = 3
PROCESSORS = ("ViTImageProcessor", "DeiTImageProcessor", "BitImageProcessor", "CLIPImageProcessor")
"""Those that resize, crop at the centre and normalise, and do nothing else with the place of a pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Patches of an image, `patch` pixels high and wide, behind `prefix` tokens that are no patches."""

    rows: int
    columns: int
    patch: int
    prefix: int

    @property
    def tokens(self) -> int:
        """T."""
        return self.prefix + self.rows * self.columns

    @property
    def height(self) -> int:
        """In pixels."""
        return self.rows * self.patch

    @property
    def width(self) -> int:
        """In pixels."""
        return self.columns * self.patch


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The rectangle of an image that the model sees, in the image's own pixels; `size` is its width and height."""

    left: float
    top: float
    width: float
    height: float
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoder:
    """A model's preprocessing and its grid of patches. Not for concurrent use: one thread encodes."""

    processor: Any = field(repr=False)
    """A Hugging Face image processor."""
    grid: Grid
    max_units: int
    removals: Removals = IMAGE_REMOVALS

    @property
    def max_tokens(self) -> int:
        """T, of every image."""
        return self.grid.tokens

    def encode(self, model_input: ModelInput) -> Encoding:
        """Encode; raises InvalidInput for what is no image, or too large a one, and for pixels of another shape."""
        if isinstance(model_input, ImageInput):
            image = open_image(model_input.data)
            return self.encoding(self.prepare(image), self._view(image.size))
        if isinstance(model_input, PixelsInput):
            return self.encoding(self._given(model_input), self.whole())
        raise InvalidInput.of("input", "this model reads images: send image or pixels")

    def prepare(self, image: Image.Image) -> Pixels:
        """Pixels [channels, height, width] as the model reads them."""
        pixels: Pixels = self.processor(image, return_tensors="np")["pixel_values"][0].astype(np.float32)
        return pixels

    def whole(self) -> View:
        """An image of exactly the size that the model reads."""
        width, height = self.grid.width, self.grid.height
        return View(left=0, top=0, width=width, height=height, size=(width, height))

    def encoding(self, pixels: Pixels, view: View) -> Encoding:
        """The encoding of prepared pixels, which show `view`."""
        side = block_side(self.grid, self.max_units)
        row_of, column_of = blocks(self.grid.rows, side), blocks(self.grid.columns, side)
        columns = int(column_of[-1]) + 1
        of_patch = (row_of[:, None] * columns + column_of[None, :]).reshape(-1)
        positions = np.arange(self.grid.tokens)
        return Encoding(
            input_ids=positions,
            type_ids=np.zeros_like(positions),
            unit_of_token=np.concatenate((np.full(self.grid.prefix, -1), of_patch)),
            units=tuple(self._units(row_of, column_of, view)),
            tokens_total=self.grid.tokens,
            grouped=side > 1,
            pixels=pixels,
            image_size=view.size,
            removals=self.removals,
        )

    def _units(self, row_of: Ints, column_of: Ints, view: View) -> Iterator[Unit]:
        """Blocks in reading order."""
        across = self._edges(column_of, view.left, view.width, view.size[0])
        down = self._edges(row_of, view.top, view.height, view.size[1])
        for row, (top, bottom) in enumerate(down):
            for column, (left, right) in enumerate(across):
                yield Unit(
                    text=f"row {row + 1}, column {column + 1}",
                    token_start=0,
                    token_end=0,
                    char_start=0,
                    char_end=0,
                    segment=0,
                    box=Box(left=left, top=top, right=right, bottom=bottom),
                )

    @staticmethod
    def _edges(block_of: Ints, start: float, length: float, most: int) -> list[tuple[int, int]]:
        """First and last pixel (exclusive) of each block along one axis of the image."""
        ends = np.searchsorted(block_of, np.arange(int(block_of[-1]) + 2)) / len(block_of)
        pixels = np.clip(np.rint(start + ends * length), 0, most).astype(int).tolist()
        return list(pairwise(pixels))

    def _given(self, given: PixelsInput) -> Pixels:
        expected = (CHANNELS, self.grid.height, self.grid.width)
        if given.shape != expected:
            raise InvalidInput.of("pixels.values.shape", f"must be {list(expected)}, is {list(given.shape)}")
        pixels = np.frombuffer(given.data, dtype="<f4").reshape(expected).astype(np.float32)
        if not np.isfinite(pixels).all():
            raise InvalidInput.of("pixels.values.data", "holds values that are not numbers")
        return pixels

    def _view(self, size: tuple[int, int]) -> View:
        """Where preprocessing takes its pixels from, in an image of this width and height."""
        width, height = size
        seen = resized = self._resized(size)
        if self.processor.do_center_crop:
            seen = (int(self.processor.crop_size["width"]), int(self.processor.crop_size["height"]))
        across, down = width / resized[0], height / resized[1]
        return View(
            left=(resized[0] - seen[0]) // 2 * across,
            top=(resized[1] - seen[1]) // 2 * down,
            width=seen[0] * across,
            height=seen[1] * down,
            size=size,
        )

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height to which an image is resized."""
        if not self.processor.do_resize:
            return size
        wanted = self.processor.size
        shortest = wanted.get("shortest_edge")
        if not shortest:
            return int(wanted["width"]), int(wanted["height"])
        longest = int(shortest * max(size) / min(size))
        return (shortest, longest) if size[0] <= size[1] else (longest, shortest)


def block_side(grid: Grid, most: int) -> int:
    """Patches along the side of a block, so that there are at most `most` blocks."""
    side = 1
    while math.ceil(grid.rows / side) * math.ceil(grid.columns / side) > most:
        side += 1
    return side


def blocks(patches: int, side: int) -> Ints:
    """The block of each of so many patches in a row, as even as can be."""
    return np.arange(patches) * math.ceil(patches / side) // patches


def open_image(data: bytes) -> Image.Image:
    """Unpack a file, upright, in colours; raises InvalidInput, before it is unpacked where it is too large."""
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidInput.of("image.data", f"has more than {MOST_PIXELS} pixels") from error
    except Exception as error:  # a decoder raises whatever it likes
        raise InvalidInput.of("image.data", f"is no image that can be read: {' or '.join(FORMATS)}") from error
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise InvalidInput.of("image.data", f"has {width} x {height} pixels; at most {MOST_PIXELS} are read")
    if max(image.size) > MOST_STRETCHED * min(image.size):
        raise InvalidInput.of(
            "image.data", f"has {width} x {height} pixels: one side is over {MOST_STRETCHED} times the other"
        )
    try:
        return ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:
        raise InvalidInput.of("image.data", "is damaged: it cannot be unpacked") from error


def image_encoder(
    processor: Any,  # noqa: ANN401 - of any family
    config: Any,  # noqa: ANN401 - likewise
    *,
    prefix: int,
    max_units: int,
    removals: Removals = IMAGE_REMOVALS,
) -> ImageEncoder:
    """Preprocessing and grid of a model; raises ModelRejected where its images could not be explained."""
    name = type(processor).__name__.removesuffix("Pil").removesuffix("Fast")
    if name not in PROCESSORS:
        message = f"images are prepared by {name}; supported: {', '.join(PROCESSORS)}"
        raise ModelRejected(message)
    if int(config.num_channels) != CHANNELS:
        message = f"the model reads {config.num_channels} channels; only colour images, of {CHANNELS}, are supported"
        raise ModelRejected(message)
    shapes = {
        processor(Image.new("RGB", size), return_tensors="np")["pixel_values"][0].shape for size in ((90, 70), (70, 90))
    }
    if len(shapes) != 1:
        message = "preprocessing gives images of several sizes: only one that makes all alike is supported"
        raise ModelRejected(message)
    _, height, width = shapes.pop()
    patch = config.patch_size
    if not isinstance(patch, int) or height % patch or width % patch:
        message = f"images of {width} x {height} pixels do not fall into square patches of {patch}"
        raise ModelRejected(message)
    grid = Grid(rows=height // patch, columns=width // patch, patch=patch, prefix=prefix)
    return ImageEncoder(processor=processor, grid=grid, max_units=max_units, removals=removals)
