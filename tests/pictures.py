"""Tiny image classifiers: random ones of every family, and a ViT that has learnt scikit-learn's digits."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from transformers import (
    CLIPConfig,
    CLIPForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
)

from rollcall.domain.inputs import Pixels

FAMILIES: dict[str, tuple[Any, Any, dict[str, int]]] = {
    "vit": (ViTForImageClassification, ViTConfig, {"intermediate_size": 64}),
    "deit": (DeiTForImageClassification, DeiTConfig, {"intermediate_size": 64}),
    "dinov2": (Dinov2ForImageClassification, Dinov2Config, {}),
    "dinov2_with_registers": (
        Dinov2WithRegistersForImageClassification,
        Dinov2WithRegistersConfig,
        {"num_register_tokens": 3},
    ),
    "clip": (CLIPForImageClassification, CLIPConfig, {"intermediate_size": 64}),
}
PREFIXES = {"clip": 1, "vit": 1, "deit": 2, "dinov2": 1, "dinov2_with_registers": 4}
SIDE, PATCH = 32, 4
_ATTENDING = ("q_proj", "k_proj")

SEEN = 1400
"""Digits that the model learns from; the rest are for asking."""
BLOCK = 8
"""Pixels of a patch: two by two of a digit's 8 x 8 cells, each four by four pixels."""


def make_vision_model(
    family: str,
    directory: Path,
    *,
    preprocessing: dict[str, Any] | None = None,
    sharp: bool = True,
    **overrides: Any,  # noqa: ANN401 - config fields
) -> Path:
    """Save a tiny random model with its preprocessing; its attention is `sharp`, no bias is 0 and no gain 1.

    With the sizes of a real one in `overrides`, and weights as they are drawn, it is what a benchmark needs.
    """
    kind, config, own = FAMILIES[family]
    torch.manual_seed(0)
    tiny = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_labels": 3}
    side = {"image_size": SIDE, "patch_size": PATCH}
    chosen = {**tiny, **side, **own, **overrides}
    size = {"size": {"height": chosen["image_size"], "width": chosen["image_size"]}}
    nested = {"num_labels": chosen.pop("num_labels"), "vision_config": chosen} if family == "clip" else chosen
    model = kind(config(**nested))
    with torch.no_grad():
        for name, weight in model.named_parameters() if sharp else ():
            if weight.dim() == 1:
                weight.add_(torch.randn_like(weight) * 0.3)
            elif "embeddings" not in name:
                weight.mul_(8 if any(part in name for part in _ATTENDING) else 4)
    return save(model, directory, {**size, **(preprocessing or {})})


def save(model: PreTrainedModel, directory: Path, preprocessing: dict[str, Any] | None = None) -> Path:
    """Save a model beside its preprocessing: to SIDE pixels, unless it is said otherwise."""
    model.save_pretrained(directory)
    described = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": SIDE, "width": SIDE},
        "do_normalize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.5, 0.6, 0.7],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "resample": 2,
    }
    (directory / "preprocessor_config.json").write_text(json.dumps({**described, **(preprocessing or {})}))
    return directory


def png(values: np.ndarray[Any, Any], kind: str = "PNG") -> bytes:
    """A file of values [height, width] or [height, width, 3], 0 to 255."""
    held = BytesIO()
    Image.fromarray(np.asarray(values, dtype=np.uint8)).save(held, format=kind)
    return held.getvalue()


def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """All 1,797 digits as grey pictures [N, SIDE, SIDE], 0 to 255, and what they are."""
    found = load_digits()
    grey = np.rint(found.images / 16 * 255).astype(np.uint8)
    return np.kron(grey, np.ones((SIDE // 8, SIDE // 8), dtype=np.uint8)), found.target


def make_digits_model(directory: Path, *, epochs: int = 30) -> tuple[Path, float]:
    """Train a small ViT on the first SEEN digits, with patches missing at random; its accuracy on the others."""
    images, targets = digits()
    pixels = torch.from_numpy(prepared(images))
    labels = torch.from_numpy(targets)
    torch.manual_seed(0)
    model = ViTForImageClassification(
        ViTConfig(
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
            image_size=SIDE,
            patch_size=BLOCK,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            id2label={i: f"digit {i}" for i in range(10)},
            label2id={f"digit {i}": i for i in range(10)},
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * (SEEN // 100))
    model.train()
    cells = SIDE // BLOCK
    for _ in range(epochs):
        for chosen in torch.chunk(torch.randperm(SEEN), SEEN // 100):
            batch = pixels[chosen]
            gone = (torch.rand(len(chosen), 1, cells, cells) < 0.2 * torch.rand(len(chosen), 1, 1, 1)).float()
            gone = gone.repeat_interleave(BLOCK, dim=2).repeat_interleave(BLOCK, dim=3)
            batch = batch * (1 - gone) + batch.mean(dim=(2, 3), keepdim=True) * gone
            loss = torch.nn.functional.cross_entropy(model(pixel_values=batch).logits, labels[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    model.train(mode=False)
    with torch.no_grad():
        right = (model(pixel_values=pixels[SEEN:]).logits.argmax(dim=-1) == labels[SEEN:]).float().mean()
    preprocessing = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    return save(model, directory, preprocessing), float(right)


def prepared(images: np.ndarray[Any, Any]) -> Pixels:
    """Grey pictures [N, SIDE, SIDE] as the digits' model reads them [N, 3, SIDE, SIDE]."""
    scaled = (images.astype(np.float32) / 255 - 0.5) / 0.5
    return np.ascontiguousarray(np.broadcast_to(scaled[:, None], (len(images), 3, SIDE, SIDE)))
