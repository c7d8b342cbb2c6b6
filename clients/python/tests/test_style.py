"""The page's colours can be read by people with weak eyes, in light and in dark."""

from __future__ import annotations

import re
from importlib import resources

import pytest

TEXT_CONTRAST = 4.5
GRAPHIC_CONTRAST = 3.0
_CSS = resources.files("rollcall_client._page").joinpath("style.css").read_text(encoding="utf-8")
_LIGHT, _DARK, *_ = re.findall(r":root \{(.*?)\}", _CSS, flags=re.DOTALL)
LIGHT = dict(re.findall(r"--([a-z-]+): ([^;]+);", _LIGHT))
THEMES = pytest.mark.parametrize("theme", [LIGHT, LIGHT | dict(re.findall(r"--([a-z-]+): ([^;]+);", _DARK))])
Colour = tuple[float, ...]


def _hex(code: str) -> Colour:
    return tuple(int(code[start : start + 2], 16) for start in (1, 3, 5))


def _over(colour: str, opacity: float, ground: Colour) -> Colour:
    parts = [float(part) for part in re.findall(r"\d+", colour)[:3]]
    return tuple(opacity * part + (1 - opacity) * under for part, under in zip(parts, ground, strict=True))


def _luminance(colour: Colour) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: Colour, other: Colour) -> float:
    """Contrast ratio as WCAG 2.2 defines it, 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@THEMES
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("ink", "ground"),
        ("ink", "card"),
        ("muted", "ground"),
        ("muted", "card"),
        ("towards", "card"),
        ("against", "card"),
        *((name, f"{name}-ground") for name in ("good", "bad", "unsure", "unchecked")),
        *(("ink", f"{name}-ground") for name in ("good", "bad", "unsure", "unchecked")),
        *(("card", name) for name in ("good", "bad", "unsure", "unchecked")),
        *((name, "card") for name in ("good", "bad", "unsure", "unchecked")),
    ],
)
def test_texts_stand_out(theme: dict[str, str], text: str, ground: str) -> None:
    """Every text has a contrast of at least 4.5 to 1 to what is under it."""
    assert contrast(_hex(theme[text]), _hex(theme[ground])) >= TEXT_CONTRAST


@THEMES
def test_words_stand_out_on_the_strongest_colour_and_on_hatching(theme: dict[str, str]) -> None:
    """The heaviest word of a map can be read as well as the lightest, and an untrusted text too."""
    card = _hex(theme["card"])
    assert contrast(_hex(theme["ink"]), _over(theme["heat"], 0.75, card)) >= TEXT_CONTRAST
    assert contrast(_hex(theme["muted"]), _over(theme["hatch"], 0.16, card)) >= TEXT_CONTRAST


@THEMES
def test_bars_stand_out(theme: dict[str, str]) -> None:
    """Graphics have a contrast of at least 3 to 1."""
    assert contrast(_hex(theme["bar"]), _hex(theme["card"])) >= GRAPHIC_CONTRAST
