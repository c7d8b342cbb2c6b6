"""A map of an image as a picture to be laid over it: a PNG of one colour, the more opaque the more weight.

Written with zlib alone, so that the client needs no imaging library. Only a FAITHFUL map is drawn, unless one insists.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

from rollcall_client.reading import largest, share, trusted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rollcall_client.explanation import Explanation
    from rollcall_client.types import Attribution, Box

COLOUR = (214, 69, 24)
_LEVELS = 256
_MOST_OPAQUE = 0.7
_INDEXED = 3


def render_overlay(
    explanation: Explanation, attribution: Attribution | None = None, *, even_if_not_faithful: bool = False
) -> bytes:
    """A PNG of the image's own size, transparent where a map has no weight; of the map that is shown if none is named.

    Raises:
        ValueError: the explanation is not of an image, or the map is not FAITHFUL and nobody insists.
    """
    drawn = explanation.shown if attribution is None else attribution
    if not (trusted(drawn) or even_if_not_faithful):
        message = f"{drawn.map.name} is {drawn.verdict.flag.name}: a picture of it would be believed"
        raise ValueError(message)
    top = largest(drawn.scores)
    return draw(explanation, [_MOST_OPAQUE * share(score, top) for score in drawn.scores])


def draw(explanation: Explanation, opacity: Sequence[float]) -> bytes:
    """A PNG with one opacity for each unit, 0 to 1; raises ValueError if the explanation is not of an image."""
    boxes = [unit.box for unit in explanation.units if unit.box is not None]
    if explanation.image_size is None or len(boxes) != len(explanation.units):
        message = "this is no explanation of an image"
        raise ValueError(message)
    levels = [round(value * (_LEVELS - 1)) for value in opacity]
    width, height = explanation.image_size
    return _png(width, height, _bands(width, height, list(zip(boxes, levels, strict=True))))


def _bands(width: int, height: int, levels: Sequence[tuple[Box, int]]) -> Iterable[tuple[int, bytes]]:
    """Runs of equal lines from top to bottom: how many, and the line."""
    edges = sorted({0, height, *(edge for box, _ in levels for edge in (box.top, box.bottom) if 0 < edge < height)})
    for top, bottom in pairwise(edges):
        line = bytearray(width)
        for box, level in levels:
            if box.top <= top < box.bottom:
                left, right = max(box.left, 0), min(box.right, width)
                line[left:right] = bytes([level]) * (right - left)
        yield bottom - top, bytes(line)


def _png(width: int, height: int, bands: Iterable[tuple[int, bytes]]) -> bytes:
    """A PNG whose colours differ in opacity alone (ISO/IEC 15948: palette and its transparency, 8 bits, no filter)."""
    squeezed, packer = bytearray(), zlib.compressobj()
    for count, line in bands:
        squeezed += packer.compress((b"\0" + line) * count)
    squeezed += packer.flush()
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _INDEXED, 0, 0, 0)),
        (b"PLTE", bytes(COLOUR) * _LEVELS),
        (b"tRNS", bytes(range(_LEVELS))),
        (b"IDAT", bytes(squeezed)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(name, content) for name, content in parts)


def _part(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
