"""Python values to requests: pure functions. An argument that is None, empty or UNSPECIFIED is left unset on the wire.

All raise ValueError or TypeError where a value does not fit the wire, e.g. a class index of more than 32 bits. The
keyword arguments are those of `PredictOptions` and `ExplainOptions`, with the same meaning.
"""

from __future__ import annotations

import sys
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from rollcall_client._v1 import common_pb2, explanation_pb2, explanation_service_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from rollcall_client.enums import AuditChoice, CheckLevel, MapKind
    from rollcall_client.options import (
        AttentionSelection,
        IntegratedGradientsOptions,
        RawAttentionOptions,
        RolloutOptions,
        Threshold,
    )

_Audit = explanation_pb2.AuditChoice.ValueType
_Map = explanation_pb2.MapKind.ValueType
_Level = explanation_pb2.CheckLevel.ValueType
_Reduction = explanation_pb2.HeadReduction.ValueType
_Queries = explanation_pb2.QuerySelection.ValueType
_Storage = common_pb2.DataType.ValueType
_PIXEL_AXES = 3

Content: TypeAlias = common_pb2.TextInput | common_pb2.TokensInput | common_pb2.ImageInput | common_pb2.PixelsInput
"""What a model is asked about."""


def text_input(
    text: str, text_pair: str | None, word: int | None = None, character: int | None = None
) -> common_pb2.TextInput:
    """A text, or a pair of texts; with the `word`, by number, or by a `character` of it, whose label is asked for."""
    return common_pb2.TextInput(text=text, text_pair=text_pair, word=_word(word, character))


def tokens_input(input_ids: Sequence[int], word: int | None = None) -> common_pb2.TokensInput:
    """A text that is already cut into the model's own pieces; with the one, by number, whose label is asked for."""
    return common_pb2.TokensInput(input_ids=input_ids, word=_word(word, None))


def _word(index: int | None, character: int | None) -> common_pb2.WordRef | None:
    if index is not None and character is not None:
        message = "name the word by its number or by a character of it, not by both"
        raise ValueError(message)
    if index is not None:
        return common_pb2.WordRef(index=index)
    return None if character is None else common_pb2.WordRef(character=character)


def image_input(image: bytes | PathLike[str]) -> common_pb2.ImageInput:
    """A PNG or JPEG file, or the path of one. Raises OSError if it cannot be read."""
    return common_pb2.ImageInput(data=image if isinstance(image, bytes) else Path(image).read_bytes())


def pixels_input(pixels: Buffer | NDArray[np.float32]) -> common_pb2.PixelsInput:
    """What a model's preprocessing made of an image: an array of float32 [3, height, width]."""
    values = memoryview(cast("Buffer", pixels))
    if values.format != "f" or values.ndim != _PIXEL_AXES:
        message = f"pixels must be float32 of three axes, not {values.format!r} of {values.ndim}"
        raise TypeError(message)
    data = values.tobytes() if sys.byteorder == "little" else _swapped(values)
    tensor = common_pb2.Tensor(data_type=common_pb2.DATA_TYPE_FLOAT32, shape=values.shape, data=data)
    return common_pb2.PixelsInput(values=tensor)


def _swapped(values: memoryview) -> bytes:
    numbers = array("f", values.tobytes())
    numbers.byteswap()
    return numbers.tobytes()


def predict_request(
    content: Content,
    *,
    request_id: str,
    model: str = "",
    revision: str = "",
    target: str | int | None = None,
    foil: str | int | None = None,
    threshold: Threshold | None = None,
    decision_ref: str = "",
    subject_ref: str = "",
    reported_label: str | None = None,
    reported_score: float | None = None,
) -> explanation_service_pb2.PredictRequest:
    """A request for a prediction."""
    return explanation_service_pb2.PredictRequest(
        request_id=request_id,
        model=model,
        revision=revision,
        text=content if isinstance(content, common_pb2.TextInput) else None,
        tokens=content if isinstance(content, common_pb2.TokensInput) else None,
        image=content if isinstance(content, common_pb2.ImageInput) else None,
        pixels=content if isinstance(content, common_pb2.PixelsInput) else None,
        target=_target(target, foil),
        threshold=_threshold(threshold),
        decision_ref=decision_ref,
        subject_ref=subject_ref,
        reported_label=reported_label,
        reported_score=reported_score,
    )


def explain_request(
    content: Content,
    *,
    request_id: str,
    model: str = "",
    revision: str = "",
    target: str | int | None = None,
    foil: str | int | None = None,
    threshold: Threshold | None = None,
    decision_ref: str = "",
    subject_ref: str = "",
    reported_label: str | None = None,
    reported_score: float | None = None,
    maps: Sequence[MapKind] = (),
    primary_map: MapKind | None = None,
    level: CheckLevel | None = None,
    policy: str = "",
    max_rows: int | None = None,
    seed: int | None = None,
    attention: AttentionSelection | None = None,
    raw_attention: RawAttentionOptions | None = None,
    rollout: RolloutOptions | None = None,
    integrated_gradients: IntegratedGradientsOptions | None = None,
    audit: AuditChoice | None = None,
) -> explanation_pb2.ExplainRequest:
    """A request for an explanation."""
    return explanation_pb2.ExplainRequest(
        request_id=request_id,
        model=model,
        revision=revision,
        text=content if isinstance(content, common_pb2.TextInput) else None,
        tokens=content if isinstance(content, common_pb2.TokensInput) else None,
        image=content if isinstance(content, common_pb2.ImageInput) else None,
        pixels=content if isinstance(content, common_pb2.PixelsInput) else None,
        target=_target(target, foil),
        threshold=_threshold(threshold),
        maps=[_Map(kind.value) for kind in maps],
        primary_map=_Map(0 if primary_map is None else primary_map.value),
        raw_attention=_raw_attention(raw_attention),
        rollout=_rollout(rollout),
        integrated_gradients=None
        if integrated_gradients is None
        else explanation_pb2.IntegratedGradientsOptions(points=integrated_gradients.points),
        attention=_attention(attention),
        check_level=_Level(0 if level is None else level.value),
        policy=policy,
        max_rows=max_rows,
        seed=seed,
        reported_label=reported_label,
        reported_score=reported_score,
        audit=_Audit(0 if audit is None else audit.value),
        decision_ref=decision_ref,
        subject_ref=subject_ref,
    )


def _target(target: str | int | None, foil: str | int | None) -> common_pb2.Target | None:
    if target is None and foil is None:
        return None
    message = common_pb2.Target()
    match target:
        case str():
            message.label = target
        case int():
            message.class_index = target
    match foil:
        case str():
            message.foil_label = foil
        case int():
            message.foil_class_index = foil
    return message


def _threshold(threshold: Threshold | None) -> common_pb2.Threshold | None:
    return None if threshold is None else common_pb2.Threshold(label=threshold.label, probability=threshold.probability)


def _raw_attention(options: RawAttentionOptions | None) -> explanation_pb2.RawAttentionOptions | None:
    return None if options is None else explanation_pb2.RawAttentionOptions(layers=options.layers, heads=options.heads)


def _rollout(options: RolloutOptions | None) -> explanation_pb2.RolloutOptions | None:
    return (
        None
        if options is None
        else explanation_pb2.RolloutOptions(
            head_fusion=_Reduction(options.head_fusion.value), start_layer=options.start_layer
        )
    )


def _attention(selection: AttentionSelection | None) -> explanation_pb2.AttentionSelection | None:
    return (
        None
        if selection is None
        else explanation_pb2.AttentionSelection(
            layers=selection.layers,
            heads=selection.heads,
            head_reduction=_Reduction(selection.head_reduction.value),
            queries=_Queries(selection.queries.value),
            data_type=_Storage(selection.data_type.value),
        )
    )
