"""Families that read pictures: scikit-learn's handwritten digits, and blocks of grey among which one colour decides.

A small ViT learns either; a CLIP tower learns the digits, too, and answers by removals alone, since its classifier
reads the mean of all patches.

Shapes: N pictures, S side in pixels, P patches, row by row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from transformers import CLIPConfig, CLIPForImageClassification, PreTrainedModel, ViTConfig, ViTForImageClassification

from rollcall.domain.inputs import ImageInput
from rollcall.studies.flag.families.base import ACCURACY, Claims, Family, Member, recipe_digest
from rollcall.studies.flag.families.learning import Schedule, descend, reproducible
from rollcall.studies.flag.families.texts import chance_of

SIDE: Final = 32
BLOCK: Final = 8
"""Pixels of a patch: of a digit's 8 x 8 cells, each four pixels wide, two by two."""
CELLS: Final = SIDE // BLOCK
SEEN: Final = 1400
"""Digits to learn from; the last 397 are to be asked about."""
PLANTED: Final = 6000
EVALUATED: Final = 400
COLOURS: Final = ("red", "blue")

Tensor = torch.Tensor
Pictures = npt.NDArray[np.uint8]
"""[N, S, S, 3]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Album:
    """Pictures to learn from and others to be asked about, with their labels [N]; names of the labels."""

    names: tuple[str, ...]
    seen: Pictures
    seen_labels: tuple[int, ...]
    asked: Pictures
    asked_labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRecipe:
    """A classifier of the pictures of one album."""

    album: str
    """Of ALBUMS."""
    tower: str = "vit"
    """Of TOWERS."""
    layers: int = 2
    width: int = 48
    schedule: Schedule


def digits(_seed: int, _inputs: int) -> Album:
    """Grey pictures of handwritten digits; raises ImportError without scikit-learn."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - an extra

    found = load_digits()
    grey = np.rint(found.images / 16 * 255).astype(np.uint8)
    large = np.kron(grey, np.ones((SIDE // 8, SIDE // 8), dtype=np.uint8))
    pictures = np.repeat(large[..., None], 3, axis=3)
    labels = tuple(int(label) for label in found.target)
    return Album(
        names=tuple(f"digit {number}" for number in range(10)),
        seen=pictures[:SEEN],
        seen_labels=labels[:SEEN],
        asked=pictures[SEEN:],
        asked_labels=labels[SEEN:],
    )


def planted_colour(seed: int, inputs: int) -> Album:
    """Blocks of any grey, and one of them in a colour, which is the class."""

    def drawn(count: int, purpose: str) -> tuple[Pictures, tuple[int, ...]]:
        random = np.random.default_rng(chance_of("planted-colour", seed, purpose).getrandbits(64))
        grey = random.integers(60, 196, size=(count, CELLS, CELLS, 1), dtype=np.uint8).repeat(3, axis=3)
        labels = random.integers(2, size=count)
        rows, columns = random.integers(CELLS, size=(2, count))
        shades = np.array([[200, 60, 60], [60, 60, 200]], dtype=np.uint8)
        grey[np.arange(count), rows, columns] = shades[labels]
        return grey.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2), tuple(labels.tolist())

    seen, seen_labels = drawn(PLANTED, "training")
    asked, asked_labels = drawn(max(inputs, EVALUATED), "inputs")
    return Album(names=COLOURS, seen=seen, seen_labels=seen_labels, asked=asked, asked_labels=asked_labels)


ALBUMS: Final[Mapping[str, Callable[[int, int], Album]]] = MappingProxyType(
    {"digits": digits, "planted-colour": planted_colour}
)
"""Pictures by seed and number of inputs."""


def _vit(recipe: PictureRecipe, names: tuple[str, ...]) -> PreTrainedModel:
    return ViTForImageClassification(
        ViTConfig(
            **_tower(recipe),
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            id2label=dict(enumerate(names)),
            label2id={name: number for number, name in enumerate(names)},
        )
    )


def _clip(recipe: PictureRecipe, names: tuple[str, ...]) -> PreTrainedModel:
    return CLIPForImageClassification(
        CLIPConfig(
            vision_config=_tower(recipe),
            id2label=dict(enumerate(names)),
            label2id={name: number for number, name in enumerate(names)},
        )
    )


def _tower(recipe: PictureRecipe) -> dict[str, Any]:
    return {
        "hidden_size": recipe.width,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": 4,
        "intermediate_size": 2 * recipe.width,
        "image_size": SIDE,
        "patch_size": BLOCK,
    }


TOWERS: Final[Mapping[str, Callable[[PictureRecipe, tuple[str, ...]], PreTrainedModel]]] = MappingProxyType(
    {"vit": _vit, "clip": _clip}
)


def prepared(pictures: Pictures) -> Tensor:
    """Pictures as the models read them [N, 3, S, S]: what PREPROCESSING says."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 * 2 - 1


PREPROCESSING: Final = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": SIDE, "width": SIDE},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def with_patches_missing(pixels: Tensor, *, share: float, ceiling: float) -> Tensor:
    """Pictures [N, 3, S, S], of which some lose some patches to their mean colour, as a removal takes them."""
    rows = len(pixels)
    rate = torch.rand(rows, 1, 1, 1) * ceiling * (torch.rand(rows, 1, 1, 1) < share)
    gone = torch.rand(rows, 1, CELLS, CELLS) < rate
    gone = gone.repeat_interleave(BLOCK, dim=2).repeat_interleave(BLOCK, dim=3)
    return torch.where(gone, pixels.mean(dim=(2, 3), keepdim=True), pixels)


def png(picture: Pictures) -> bytes:
    """A file of one picture [S, S, 3]."""
    from PIL import Image  # noqa: PLC0415 - an extra

    held = BytesIO()
    Image.fromarray(picture).save(held, format="PNG")
    return held.getvalue()


def picture_family(
    name: str, truth: str, recipe: PictureRecipe, claims: Claims, *, packages: tuple[str, ...] = ("PIL",)
) -> Family:
    """A family of one album. Models of one seed are asked about the same pictures."""

    def build(seed: int, inputs: int, _data: Path | None, directory: Path) -> Member:
        album = ALBUMS[recipe.album](seed, inputs)
        pixels, labels = prepared(album.seen), torch.tensor(album.seen_labels)
        with reproducible(seed):
            model: Any = TOWERS[recipe.tower](recipe, album.names)

            def loss_of(_: int, batch: list[int]) -> Tensor:
                schedule = recipe.schedule
                seen = with_patches_missing(
                    pixels[batch], share=schedule.removal_share, ceiling=schedule.removal_ceiling
                )
                return functional.cross_entropy(model(pixel_values=seen).logits, labels[batch])

            descend(model, loss_of, recipe.schedule, [1] * len(labels), seed=seed, name=name)
            with torch.no_grad():
                found = model(pixel_values=prepared(album.asked)).logits.argmax(dim=-1)
        model.save_pretrained(directory)
        (directory / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING), encoding="utf-8")
        order = list(range(len(album.asked)))
        chance_of(recipe.album, seed, "inputs").shuffle(order)
        asked = tuple(ImageInput(data=png(album.asked[number])) for number in order[:inputs])
        return Member(
            family=name,
            seed=seed,
            directory=directory,
            inputs=asked,
            evidence=((),) * len(asked),
            accuracy=float((found == torch.tensor(album.asked_labels)).float().mean()),
            facts={},
        )

    return Family(
        name=name,
        truth=truth,
        layers=recipe.layers,
        quick=False,
        data=None,
        build=build,
        digest=recipe_digest(name, recipe),
        claims=claims,
        packages=packages,
    )


_DIGITS: Final = Schedule(steps=1000, learning_rate=3e-3)

FAMILIES: Final = (
    picture_family(
        "planted-colour",
        "Of sixteen blocks one is in colour, and its colour is the class.",
        PictureRecipe(album="planted-colour", schedule=Schedule(steps=250, learning_rate=2e-3)),
        {ACCURACY: (0.98, 1.0)},
    ),
    picture_family(
        "digits",
        "Nothing is known by construction: a ViT that has learnt handwritten digits, ten classes.",
        PictureRecipe(album="digits", schedule=_DIGITS),
        {ACCURACY: (0.85, 1.0)},
        packages=("PIL", "sklearn"),
    ),
    picture_family(
        "digits-unopened",
        "As digits, by a CLIP tower, whose classifier reads no one token: removals alone, no attention.",
        PictureRecipe(album="digits", tower="clip", schedule=_DIGITS),
        {ACCURACY: (0.85, 1.0)},
        packages=("PIL", "sklearn"),
    ),
)
