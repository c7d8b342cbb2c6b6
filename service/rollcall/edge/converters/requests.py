"""Requests, from protobuf to domain values.

Every field is looked at; whatever is wrong is reported together, each field by its path in the protos. What needs the
model to judge (labels, layers, ids) is judged in the pipeline, with the same paths. Descriptions never quote a text.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from rollcall.domain import explanation as domain
from rollcall.domain.errors import FieldViolation, InvalidInput
from rollcall.domain.inputs import (
    ClassRef,
    ImageInput,
    ModelInput,
    PixelsInput,
    Target,
    TextInput,
    Threshold,
    TokensInput,
    WordRef,
)
from rollcall.domain.maps import (
    MAX_ATTENTION_BYTES,
    MOST_INTEGRATION_POINTS,
    VALUE_BYTES,
    AttentionSelection,
    HeadFusion,
    HeadReduction,
    MapKind,
    MapOptions,
    TensorType,
)
from rollcall.domain.recording import AuditChoice
from rollcall.domain.verdicts import CheckLevel
from rollcall.edge.converters import enums
from rollcall.v1 import audit_service_pb2, common_pb2, explanation_pb2, explanation_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from enum import Enum

    from rollcall.domain.identity import Identity
    from rollcall.edge.port import Limits

    E = TypeVar("E", bound=Enum)
    AnyRequest: TypeAlias = explanation_pb2.ExplainRequest | explanation_service_pb2.PredictRequest
    AnyInput: TypeAlias = AnyRequest | audit_service_pb2.ReplayRecordRequest | audit_service_pb2.ExplainRecordRequest

MAX_VIOLATIONS = 20
MAX_NAME_CHARACTERS = 128
MAX_LABEL_CHARACTERS = 1_000
MAX_REFERENCE_CHARACTERS = 256
MAX_LIST_ENTRIES = 1_000
"""Of maps, layers and heads: more than any model has."""
AXES = ("channels", "height", "width")
REQUEST_ID = re.compile(r"[\x20-\x7e]{1,128}")

_FUSIONS = {HeadReduction.MEAN: HeadFusion.MEAN, HeadReduction.MAX: HeadFusion.MAX}
_HEAD_FUSIONS = {enums.HEAD_REDUCTIONS[reduction]: fusion for reduction, fusion in _FUSIONS.items()}
_READOUT_ONLY = {
    explanation_pb2.QUERY_SELECTION_UNSPECIFIED: True,
    explanation_pb2.QUERY_SELECTION_READOUT: True,
    explanation_pb2.QUERY_SELECTION_ALL: False,
}


def predict_request(
    message: explanation_service_pb2.PredictRequest, *, limits: Limits, deadline: float | None, caller: Identity
) -> domain.PredictRequest:
    """Read a request. Raises InvalidInput with everything that is wrong."""
    read = _Reader()
    request = domain.PredictRequest(
        request_id=read.request_id(message.request_id),
        model=read.name("model", message.model),
        revision=read.name("revision", message.revision),
        input=read.input(message, limits),
        target=read.target(message),
        threshold=read.threshold(message),
        deadline=deadline,
        caller=caller,
        decision_ref=read.reference("decision_ref", message.decision_ref),
        subject_ref=read.reference("subject_ref", message.subject_ref),
        reported_label=read.reported_label(message),
        reported_score=read.reported_score(message),
    )
    if request.subject_ref and not request.decision_ref:
        read.refuse("decision_ref", "required with subject_ref: without it a prediction leaves no record")
    read.finish()
    return request


def explain_request(
    message: explanation_pb2.ExplainRequest,
    *,
    limits: Limits,
    deadline: float | None,
    caller: Identity,
    max_attention_bytes: int = MAX_ATTENTION_BYTES,
) -> domain.ExplainRequest:
    """Read a request whose answer can carry so much attention. Raises InvalidInput with everything that is wrong."""
    read = _Reader()
    request = domain.ExplainRequest(
        request_id=read.request_id(message.request_id),
        model=read.name("model", message.model),
        revision=read.name("revision", message.revision),
        input=read.input(message, limits),
        target=read.target(message),
        threshold=read.threshold(message),
        deadline=deadline,
        caller=caller,
        decision_ref=read.reference("decision_ref", message.decision_ref),
        subject_ref=read.reference("subject_ref", message.subject_ref),
        maps=read.maps(message),
        primary_map=read.enum("primary_map", message.primary_map, enums.MAP_KINDS),
        map_options=read.map_options(message),
        attention=read.attention(message),
        max_attention_bytes=max_attention_bytes,
        check_level=read.enum("check_level", message.check_level, enums.CHECK_LEVELS),
        policy=read.name("policy", message.policy),
        max_rows=read.max_rows(message, limits),
        seed=message.seed if message.HasField("seed") else None,
        reported_label=read.reported_label(message),
        reported_score=read.reported_score(message),
        audit=read.enum("audit", message.audit, enums.AUDIT_CHOICES) or AuditChoice.DEFAULT,
    )
    read.finish()
    return request


def replay_input(
    message: audit_service_pb2.ReplayRecordRequest | audit_service_pb2.ExplainRecordRequest, limits: Limits
) -> ModelInput | None:
    """Read the input that comes with a question about a record, None where none does. Raises InvalidInput."""
    if message.WhichOneof("input") is None:
        return None
    read = _Reader()
    found = read.input(message, limits)
    read.finish()
    return found


def check_level(message: audit_service_pb2.ExplainRecordRequest) -> CheckLevel | None:
    """Read how much to check. Raises InvalidInput."""
    read = _Reader()
    level = read.enum("check_level", message.check_level, enums.CHECK_LEVELS)
    read.finish()
    return level


def model_name(message: explanation_service_pb2.GetModelRequest) -> str:
    """Read the name of the model that is asked for. Raises InvalidInput."""
    read = _Reader()
    name = read.name("model", message.model)
    read.finish()
    return name


class _Reader:
    """Reads fields and notes what is wrong; what it returns for a wrong field is never used, since `finish` raises."""

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []

    def finish(self) -> None:
        """Raise InvalidInput if anything was wrong."""
        if self._violations:
            raise InvalidInput(*self._violations)

    def refuse(self, field: str, description: str) -> None:
        if len(self._violations) < MAX_VIOLATIONS:
            self._violations.append(FieldViolation(field=field, description=description))

    def request_id(self, value: str) -> str:
        if value and not REQUEST_ID.fullmatch(value):
            self.refuse("request_id", "must be at most 128 printable ASCII characters")
        return value

    def name(self, field: str, value: str) -> str:
        if len(value) > MAX_NAME_CHARACTERS:
            self.refuse(field, f"must have at most {MAX_NAME_CHARACTERS} characters")
        return value

    def reference(self, field: str, value: str) -> str:
        if len(value) > MAX_REFERENCE_CHARACTERS:
            self.refuse(field, f"must have at most {MAX_REFERENCE_CHARACTERS} characters")
        elif not value.isprintable():
            self.refuse(field, "must hold printable characters only")
        return value

    def label(self, field: str, value: str) -> str:
        if not value:
            self.refuse(field, "must not be empty")
        elif len(value) > MAX_LABEL_CHARACTERS:
            self.refuse(field, f"must have at most {MAX_LABEL_CHARACTERS} characters")
        return value

    def not_negative(self, field: str, value: int) -> int:
        if value < 0:
            self.refuse(field, "must not be negative")
        return value

    def enum(self, field: str, number: int, numbers: Mapping[E, int]) -> E | None:
        """Find a member by the wire's number; 0 means None, which stands for the default."""
        member = next((member for member, known in numbers.items() if known == number), None)
        if member is None and number != 0:
            self.refuse(field, f"has no value {number} in this version")
        return member

    def input(self, message: AnyInput, limits: Limits) -> ModelInput:
        kind = message.WhichOneof("input")
        if kind == "text":
            pair = message.text.text_pair if message.text.HasField("text_pair") else None
            self._text("text.text", message.text.text, limits)
            if pair is not None:
                self._text("text.text_pair", pair, limits)
            return TextInput(text=message.text.text, text_pair=pair, word=self._word("text.word", message.text))
        if kind == "tokens":
            ids = self._input_ids(message.tokens.input_ids, limits)
            return TokensInput(input_ids=ids, word=self._word("tokens.word", message.tokens))
        if kind == "image":
            if not message.image.data:
                self.refuse("image.data", "must not be empty")
            return ImageInput(data=message.image.data)
        if kind == "pixels":
            return self._pixels(message.pixels.values)
        self.refuse("input", "exactly one of text, tokens, image and pixels must be set")
        return TokensInput(input_ids=())

    def _word(self, field: str, message: common_pb2.TextInput | common_pb2.TokensInput) -> WordRef | None:
        if not message.HasField("word"):
            return None
        word = message.word
        match word.WhichOneof("place"):
            case "index":
                return WordRef(index=self.not_negative(f"{field}.index", word.index))
            case "character":
                return WordRef(character=self.not_negative(f"{field}.character", word.character))
            case _:
                self.refuse(field, "exactly one of index and character must be set")
                return None

    def _pixels(self, tensor: common_pb2.Tensor) -> PixelsInput:
        shape = tuple(tensor.shape)
        if tensor.data_type != common_pb2.DATA_TYPE_FLOAT32:
            self.refuse("pixels.values.data_type", "must be DATA_TYPE_FLOAT32")
        if len(shape) != len(AXES) or min(shape, default=0) < 1:
            self.refuse("pixels.values.shape", f"must have the axes {', '.join(AXES)}, none of them empty")
        elif len(tensor.data) != math.prod(shape) * VALUE_BYTES[TensorType.FLOAT32]:
            self.refuse("pixels.values.data", f"has {len(tensor.data)} bytes, which is not what the shape says")
        return PixelsInput(shape=shape, data=tensor.data)

    def _text(self, field: str, value: str, limits: Limits) -> None:
        if len(value) > limits.max_characters:
            self.refuse(field, f"must have at most {limits.max_characters} characters, has {len(value)}")
        elif not value.strip():
            self.refuse(field, "must contain at least one word")

    def _input_ids(self, ids: Iterable[int], limits: Limits) -> tuple[int, ...]:
        values = tuple(ids)
        if not values:
            self.refuse("tokens.input_ids", "must not be empty")
        elif len(values) > limits.max_characters:
            self.refuse("tokens.input_ids", f"must have at most {limits.max_characters} ids, has {len(values)}")
        elif min(values) < 0:
            for position in (position for position, value in enumerate(values) if value < 0):
                self.refuse(f"tokens.input_ids[{position}]", "must not be negative")
        return values

    def target(self, message: AnyRequest) -> Target:
        target = message.target
        return Target(
            target=self._class(target.WhichOneof("target"), target.class_index, target.label),
            foil=self._class(target.WhichOneof("foil"), target.foil_class_index, target.foil_label),
        )

    def _class(self, member: str | None, index: int, label: str) -> ClassRef | None:
        if member is None:
            return None
        path = f"target.{member}"
        return self.label(path, label) if member.endswith("label") else self.not_negative(path, index)

    def threshold(self, message: AnyRequest) -> Threshold | None:
        if not message.HasField("threshold"):
            return None
        label, probability = message.threshold.label, message.threshold.probability
        self.label("threshold.label", label)
        if not 0 < probability < 1:
            self.refuse("threshold.probability", "must lie between 0 and 1, both excluded")
        return Threshold(label=label, probability=probability)

    def maps(self, message: explanation_pb2.ExplainRequest) -> tuple[MapKind, ...]:
        """Read the maps; a map named twice counts once."""
        if len(message.maps) > MAX_LIST_ENTRIES:
            self.refuse("maps", f"must have at most {MAX_LIST_ENTRIES} entries")
            return ()
        read = [self.enum(f"maps[{i}]", number, enums.MAP_KINDS) for i, number in enumerate(message.maps)]
        for i, kind in enumerate(read):
            if kind is None and message.maps[i] == explanation_pb2.MAP_KIND_UNSPECIFIED:
                self.refuse(f"maps[{i}]", "must not be MAP_KIND_UNSPECIFIED")
        return tuple(dict.fromkeys(kind for kind in read if kind is not None))

    def map_options(self, message: explanation_pb2.ExplainRequest) -> MapOptions:
        fusion = message.rollout.head_fusion
        if fusion and fusion not in _HEAD_FUSIONS:
            self.refuse("rollout.head_fusion", "must be HEAD_REDUCTION_MEAN or HEAD_REDUCTION_MAX")
        return MapOptions(
            raw_layers=self._indices("raw_attention.layers", message.raw_attention.layers),
            raw_heads=self._indices("raw_attention.heads", message.raw_attention.heads),
            rollout_fusion=_HEAD_FUSIONS.get(fusion, HeadFusion.MEAN),
            rollout_start_layer=self.not_negative("rollout.start_layer", message.rollout.start_layer),
            integration_points=self.integration_points(message.integrated_gradients.points),
        )

    def integration_points(self, points: int) -> int:
        if not 0 <= points <= MOST_INTEGRATION_POINTS:
            self.refuse("integrated_gradients.points", f"must lie between 1 and {MOST_INTEGRATION_POINTS}")
        return points or MapOptions().integration_points

    def attention(self, message: explanation_pb2.ExplainRequest) -> AttentionSelection | None:
        if not message.HasField("attention"):
            return None
        chosen = message.attention
        reduction = self.enum("attention.head_reduction", chosen.head_reduction, enums.HEAD_REDUCTIONS)
        tensor_type = self.enum("attention.data_type", chosen.data_type, enums.TENSOR_TYPES)
        if chosen.queries not in _READOUT_ONLY:
            self.refuse("attention.queries", f"has no value {chosen.queries} in this version")
        return AttentionSelection(
            layers=self._indices("attention.layers", chosen.layers),
            heads=self._indices("attention.heads", chosen.heads),
            head_reduction=reduction or HeadReduction.NONE,
            readout_only=_READOUT_ONLY.get(chosen.queries, True),
            tensor_type=tensor_type or TensorType.FLOAT32,
        )

    def _indices(self, field: str, indices: Iterable[int]) -> tuple[int, ...]:
        """Read layers or heads: each once, because each becomes one entry of an axis or of a mean."""
        values = tuple(indices)
        if len(values) > MAX_LIST_ENTRIES:
            self.refuse(field, f"must have at most {MAX_LIST_ENTRIES} entries")
            return ()
        for i, value in enumerate(values):
            self.not_negative(f"{field}[{i}]", value)
        if len(set(values)) < len(values):
            self.refuse(field, "must not name an index twice")
        return values

    def max_rows(self, message: explanation_pb2.ExplainRequest, limits: Limits) -> int | None:
        if not message.HasField("max_rows"):
            return None
        if not 1 <= message.max_rows <= limits.max_rows:
            self.refuse("max_rows", f"must lie between 1 and {limits.max_rows}")
        return message.max_rows

    def reported_label(self, message: AnyRequest) -> str | None:
        return self.label("reported_label", message.reported_label) if message.HasField("reported_label") else None

    def reported_score(self, message: AnyRequest) -> float | None:
        if not message.HasField("reported_score"):
            return None
        if not 0 <= message.reported_score <= 1:
            self.refuse("reported_score", "must be a probability, between 0 and 1")
        return message.reported_score
