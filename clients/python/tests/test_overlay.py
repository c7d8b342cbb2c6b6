"""Maps of images: what is laid over them, and what a person reads beside them."""

from __future__ import annotations

import struct
import zlib
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import canned
from rollcall_client import Box
from rollcall_client._requests import image_input, pixels_input
from rollcall_client._v1 import common_pb2, explanation_pb2
from rollcall_client.html import render_page
from rollcall_client.overlay import COLOUR, draw, render_overlay
from rollcall_client.terminal import render

if TYPE_CHECKING:
    from pathlib import Path

UNFAITHFUL = canned.verdict(explanation_pb2.FLAG_UNFAITHFUL, value=-0.4)
IMAGE = b"\x89PNG\r\n\x1a\n and so on"


def opacities(png: bytes) -> list[list[int]]:
    """The lines of a picture of one colour, as their opacities; every part's checksum must be right."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    parts, at = dict[bytes, bytes](), 8
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at : at + 8])
        content = png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length]) == (zlib.crc32(name + content),)
        parts[name] = content
        at += 12 + length
    width, height, bits, kind, *_ = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert (bits, kind) == (8, 3)
    assert parts[b"PLTE"] == bytes(COLOUR) * 256
    data = zlib.decompress(parts[b"IDAT"])
    lines = [data[line * (width + 1) : (line + 1) * (width + 1)] for line in range(height)]
    assert len(data) == height * (width + 1)
    assert all(line[0] == 0 for line in lines)
    return [[parts[b"tRNS"][index] for index in line[1:]] for line in lines]


def test_the_heavier_block_is_more_opaque() -> None:
    """Each pixel is as opaque as its block's share of the heaviest weight, which still lets the image through."""
    explanation = canned.explanation(canned.of_image())
    lines = opacities(render_overlay(explanation))
    heavy, light = round(0.7 * 255), round(0.7 * 255 / 6)  # weights .06 and .01
    assert lines == [[light, light, light, heavy, heavy]] * 4


def test_what_lies_in_no_block_stays_clear() -> None:
    """Of an image whose rim the model does not see the rim is not coloured."""
    explanation = canned.explanation(canned.of_image())
    left, right = explanation.units
    units = (replace(left, box=Box(left=1, top=1, right=3, bottom=3)), replace(right, box=None))
    with pytest.raises(ValueError, match="no block of an image of 5 x 4"):
        replace(explanation, units=units)
    units = (units[0], replace(right, box=Box(left=3, top=1, right=4, bottom=3)))
    lines = opacities(draw(replace(explanation, units=units), [1.0, 0.5]))
    clear, seen = [0] * 5, [0, 255, 255, 128, 0]
    assert lines == [clear, seen, seen, clear]


def test_only_a_faithful_map_is_drawn_unless_one_insists() -> None:
    """What would be believed must deserve it; somebody who wants to see it all the same has to say so."""
    explanation = canned.explanation(canned.of_image(UNFAITHFUL))
    with pytest.raises(ValueError, match="GRADIENT_ROLLOUT is UNFAITHFUL"):
        render_overlay(explanation)
    assert opacities(render_overlay(explanation, even_if_not_faithful=True))
    with pytest.raises(ValueError, match="no explanation of an image"):
        render_overlay(canned.explanation())


@pytest.mark.parametrize("size", [(0, 4), (-5, -4), (1 << 20, 1 << 20)])
def test_an_image_that_cannot_be_is_refused(size: tuple[int, int]) -> None:
    """A service that claims an absurd size does not make its caller allocate it."""
    explanation = canned.explanation(canned.of_image())
    with pytest.raises(ValueError, match="no image has"):
        replace(explanation, image_size=size)


def test_the_page_shows_the_image_under_a_faithful_map() -> None:
    """Once where it is shown and once in its details; the third time without the blocks that change the decision."""
    explanation = replace(canned.explanation(canned.of_image()), image=IMAGE)
    page = render_page(explanation)
    assert page.count('alt="The image under this map"') == 2
    assert page.count('class="overlay"') == 3
    assert "The stronger a block&#x27;s colour" in page
    assert "Explanations of such a model are experimental" in page
    assert "filled with the image&#x27;s mean colour" in page
    assert "img-src data:" in page
    assert "<mark" not in page


def test_the_page_draws_nothing_over_the_image_under_another_map() -> None:
    """The image stands there as it was sent, captioned; without the file the page says that it is absent."""
    page = render_page(canned.explanation(canned.of_image(UNFAITHFUL)))
    assert page.count('class="alone"') == 1  # the blocks that change the decision were measured
    assert "The picture itself is not part of the answer." in page
    assert 'alt="The image under this map"' not in page


def test_the_terminal_draws_blocks_where_they_lie() -> None:
    """A faithful map is a grid of weights, any other one a list; neither repeats "row 1, column 1" as a text."""
    trusted = render(canned.explanation(canned.of_image()), color=False, width=100)
    assert "     1    6" in trusted
    assert "Note: Explanations of such a model are experimental" in trusted
    other = render(canned.explanation(canned.of_image(UNFAITHFUL)), color=False, width=100)
    assert "     1    6" not in other


def test_the_file_is_no_part_of_the_answer() -> None:
    """What is stored or logged as JSON does not hold the caller's picture."""
    explanation = replace(canned.explanation(canned.of_image()), image=IMAGE)
    assert "image" not in explanation.to_dict()
    assert explanation.to_dict()["image_size"] == [5, 4]
    assert "and so on" not in repr(explanation)


def test_an_image_goes_as_bytes_or_as_a_file(tmp_path: Path) -> None:
    """Both are the same on the wire; a file that is not there is nobody's request."""
    path = tmp_path / "image.png"
    path.write_bytes(IMAGE)
    assert image_input(IMAGE) == image_input(path) == common_pb2.ImageInput(data=IMAGE)
    with pytest.raises(FileNotFoundError):
        image_input(tmp_path / "none.png")


def test_pixels_go_with_their_shape() -> None:
    """Anything that is an array of float32 with three axes will do."""
    values = array("f", range(12))
    sent = pixels_input(memoryview(values).cast("B").cast("f", (3, 2, 2))).values
    assert (list(sent.shape), sent.data_type) == ([3, 2, 2], common_pb2.DATA_TYPE_FLOAT32)
    assert struct.unpack("<12f", sent.data) == tuple(range(12))
    with pytest.raises(TypeError, match="float32 of three axes"):
        pixels_input(values)
    with pytest.raises(TypeError, match="float32 of three axes"):
        pixels_input(memoryview(array("d", range(12))).cast("B").cast("d", (3, 2, 2)))
