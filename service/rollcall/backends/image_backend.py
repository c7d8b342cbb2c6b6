"""A Hugging Face image classifier in torch: the rows of an image are made on the device, of what differs alone.

An image crosses the bus once for each batch, however many rows are variants of it; a row brings a bit for each patch.

Shapes: B batch, I image, C channel, T token, R rows and S columns of patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from rollcall.backends.base import BatchRow, Layout, variants
from rollcall.backends.images import CHANNELS, ImageEncoder
from rollcall.backends.self_test import Trial
from rollcall.backends.stock_attention import additive
from rollcall.backends.tensors import AnyInputs, ImageInputs
from rollcall.backends.torch_backend import TorchClassifier
from rollcall.domain.decision import Task
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import Bools
from rollcall.domain.rows import RemovalOperator, Row

Tensor = torch.Tensor

CHANGING = (RemovalOperator.MEAN_PATCH, RemovalOperator.BLURRED_PATCH)
"""Ways to remove a patch that change what it shows."""
BLUR_PATCHES = 3
"""Patches on a side of the square over which a blurred patch is averaged, roughly."""


class ImageBackend(TorchClassifier):
    """A classifier of images, all of which have the same number of tokens."""

    fixed_length = may_be_fixed = True

    def __init__(
        self, model: PreTrainedModel, encoder: ImageEncoder, layout: Layout, *, task: Task, device: str
    ) -> None:
        """Take over a model that nobody else uses, with its preprocessing."""
        self._encoder = encoder
        super().__init__(model, layout, max_tokens=encoder.max_tokens, task=task, device=device)

    def encode(self, model_input: ModelInput) -> Encoding:
        """Prepare the image and find the units; raises InvalidInput."""
        return self._encoder.encode(model_input)

    def synthetic(self, length: int, seed: int = 0) -> Encoding:
        """An image of random pixels; `length` is always the same."""
        del length
        grid = self._encoder.grid
        pixels = np.random.default_rng(seed).standard_normal((CHANNELS, grid.height, grid.width), dtype=np.float32)
        return self._encoder.encoding(pixels, self._encoder.whole())

    def trial(self) -> Trial:
        """Two random images, and the last patch to be hidden."""
        length = self.shape.max_tokens
        rows = [row for seed in (0, 1) for row in variants(self.synthetic(length, seed), [Row()])]
        return Trial(batch=self._inputs(rows, length), lengths=(length, length), key=length - 1)

    def _staged(self, rows: Sequence[BatchRow], length: int) -> dict[str, npt.NDArray[Any]]:
        """Images [I, C, height, width], the one of each row, tokens that are seen, and patches changed by operator."""
        images = {id(each.encoding): each.encoding for each in rows}
        numbers = {key: number for number, key in enumerate(images)}
        changed: dict[str, Bools] = {}
        visible = np.ones((len(rows), length), dtype=np.int64)
        for i, (encoding, row) in enumerate((each.encoding, each.row) for each in rows):
            if row.removed is None:
                continue
            removed = encoding.tokens_of(row.removed)
            if row.operator is RemovalOperator.HIDDEN_KEYS:
                visible[i, removed] = 0
            elif row.operator in CHANGING:
                changed.setdefault(row.operator.name, np.zeros((len(rows), length), dtype=np.bool_))[i] = removed
            else:
                message = f"{row.operator.name} removes nothing from an image"
                raise ValueError(message)
        return {
            "images": np.stack([each.pixels for each in images.values() if each.pixels is not None]),
            "which": np.array([numbers[id(each.encoding)] for each in rows]),
            "visible": visible,
            **changed,
        }

    def _see(self, tensors: Mapping[str, Tensor]) -> ImageInputs:
        """Fill or blur what is removed."""
        own, which = tensors["images"], tensors["which"]
        pixels = own[which]
        for operator in CHANGING:
            if operator.name in tensors:
                changed = self._on_pixels(tensors[operator.name])
                pixels = torch.where(changed, self._replacement(operator, own)[which], pixels)
        dtype = next(self._model.parameters()).dtype
        return ImageInputs(pixel_values=pixels.to(dtype), attention_mask=tensors["visible"])

    def _arguments(self, inputs: AnyInputs) -> dict[str, Tensor]:
        assert isinstance(inputs, ImageInputs)
        mask = inputs.attention_mask
        if not self._layout.adds_mask:
            return {"pixel_values": inputs.pixel_values, "attention_mask": mask}
        if bool(mask.all()):  # as the stock model is called
            return {"pixel_values": inputs.pixel_values}
        added = additive(mask[:, None, None].bool(), inputs.pixel_values.dtype)
        return {"pixel_values": inputs.pixel_values, "attention_mask": added}

    def _on_pixels(self, patches: Tensor) -> Tensor:
        """Patches [B, T] as pixels [B, 1, height, width]."""
        grid = self._encoder.grid
        square = patches[:, grid.prefix :].reshape(-1, 1, grid.rows, grid.columns)
        return square.repeat_interleave(grid.patch, dim=2).repeat_interleave(grid.patch, dim=3)

    def _replacement(self, operator: RemovalOperator, own: Tensor) -> Tensor:
        """What removed patches show of images [I, C, height, width]: their mean colour, or themselves blurred."""
        if operator is RemovalOperator.MEAN_PATCH:
            return own.mean(dim=(2, 3), keepdim=True).expand_as(own)
        reach = BLUR_PATCHES * self._encoder.grid.patch // 2
        for kernel, padding in (((2 * reach + 1, 1), (reach, 0)), ((1, 2 * reach + 1), (0, reach))):
            own = torch.nn.functional.avg_pool2d(own, kernel, stride=1, padding=padding, count_include_pad=False)
        return own
