"""The whole answer, and the questions that one usually asks it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollcall_client import _showing
from rollcall_client._json import JsonValue, plain
from rollcall_client.enums import Flag, MapKind
from rollcall_client.types import AS_JSON_STRING, NOT_IN_JSON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollcall_client.enums import Reason
    from rollcall_client.tensors import AttentionTensor
    from rollcall_client.types import (
        Attribution,
        AuditReceipt,
        DecisionFlip,
        Effect,
        MissingMap,
        ModelRef,
        Prediction,
        ThoroughPolicy,
        Timing,
        Unit,
        Verdict,
    )


_MOST_PIXELS = 1 << 26
"""Four times what services take: what is drawn has so many bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A unit with its weight in one map and, if the answer was checked, its measured effect on the margin."""

    unit: Unit
    score: float
    effect: Effect | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A prediction, its maps, and whether each map may be relied on.

    `verdict` is the verdict of `primary_map`: its flag is the answer's flag. `recommended_map` is the FAITHFUL map with
    the strongest evidence, UNSPECIFIED if no map is FAITHFUL. `effects` is empty and `decision_flip` None unless
    checked. `rows` counts forward rows, the base rows included; `dropped_mass` is the share of the primary map on
    special tokens; `missing_maps` were asked for and could not be made; `thorough_policy` is None unless the level was
    THOROUGH; `audit` is the receipt of the answer's record, None where the service keeps none; `retrospective_of` is
    the record of the decision that this explains afterwards, "" if it was explained at once.

    Raises:
        ValueError: the pieces contradict each other, e.g. a map has not one score per unit.
    """

    explanation_id: str
    request_id: str
    model: ModelRef
    prediction: Prediction
    units: tuple[Unit, ...]
    attributions: tuple[Attribution, ...]
    effects: tuple[Effect, ...]
    decision_flip: DecisionFlip | None
    primary_map: MapKind
    verdict: Verdict
    recommended_map: MapKind
    truncated: bool
    tokens_total: int
    tokens_used: int
    dropped_mass: float
    reported_mismatch: bool
    attention: AttentionTensor | None
    timing: Timing
    rows: int
    seed: int = field(metadata=AS_JSON_STRING)
    units_grouped: bool
    missing_maps: tuple[MissingMap, ...] = ()
    thorough_policy: ThoroughPolicy | None = None
    audit: AuditReceipt | None = None
    retrospective_of: str = ""
    image_size: tuple[int, int] | None = None
    """Of an image: the width and height that the units' boxes are in."""
    experimental: bool = False
    """Whether the thresholds behind the flags were never calibrated on this kind of input."""
    word: Unit | None = None
    """The word whose label it is about, of a model that labels words."""
    image: bytes = field(default=b"", repr=False, metadata=NOT_IN_JSON)
    """The file that this client sent, if it sent one: no part of the answer, and of what `to_dict` gives."""

    def __post_init__(self) -> None:
        """Refuse an answer whose pieces contradict each other, so that no reader has to check again."""
        if self.attribution(self.primary_map) is None:
            message = f"the primary map {self.primary_map.name} is not among the maps"
            raise ValueError(message)
        if self.verdict.flag is not self.primary.verdict.flag:
            message = f"the answer is {self.verdict.flag.name}, its primary map {self.primary.verdict.flag.name}"
            raise ValueError(message)
        recommended = self.attribution(self.recommended_map)
        if self.recommended_map is not MapKind.UNSPECIFIED and (
            recommended is None or recommended.verdict.flag is not Flag.FAITHFUL
        ):
            message = f"the recommended map {self.recommended_map.name} is not a faithful one among the maps"
            raise ValueError(message)
        if any(index not in range(len(self.units)) for index in self._unit_indices()):
            message = f"an index points to none of {len(self.units)} units"
            raise ValueError(message)
        if any(len(weights) != len(self.units) for weights in self._weights()):
            message = f"a map has not one weight for each of {len(self.units)} units"
            raise ValueError(message)

        if self.word is not None and self.asked is None:
            message = "the word that is asked about lies in none of the units"
            raise ValueError(message)
        if self.image_size is not None:
            self._refuse_blocks_elsewhere(*self.image_size)

    @property
    def asked(self) -> int | None:
        """Index of the unit that is, or has, the word whose label this is about; None for models of other tasks."""
        if self.word is None:
            return None
        place = self.word.token_start
        held = (index for index, unit in enumerate(self.units) if unit.token_start <= place < unit.token_end)
        return next(held, None)

    def _refuse_blocks_elsewhere(self, width: int, height: int) -> None:
        if not 0 < width * height <= _MOST_PIXELS or min(width, height) < 1:
            message = f"no image has {width} x {height} pixels"
            raise ValueError(message)
        for box in (unit.box for unit in self.units):
            if box is None or not (0 <= box.left <= box.right <= width and 0 <= box.top <= box.bottom <= height):
                message = f"a unit is no block of an image of {width} x {height} pixels"
                raise ValueError(message)

    def _verdicts(self) -> tuple[Verdict, ...]:
        return (self.verdict, *(attribution.verdict for attribution in self.attributions))

    def _weights(self) -> Iterator[tuple[float, ...]]:
        yield from (attribution.scores for attribution in self.attributions)
        yield from (witness.map for verdict in self._verdicts() for witness in verdict.witnesses if witness.map)

    def _unit_indices(self) -> Iterator[int]:
        yield from (effect.unit for effect in self.effects)
        yield from self.decision_flip.units if self.decision_flip else ()
        for witness in (witness for verdict in self._verdicts() for witness in verdict.witnesses):
            yield from (*witness.removed_units, *witness.control_units)

    @property
    def flag(self) -> Flag:
        """The answer's flag: whether the primary map may be relied on."""
        return self.verdict.flag

    @property
    def reason(self) -> Reason:
        """Why the answer's flag is INCONCLUSIVE; UNSPECIFIED for every other flag."""
        return self.verdict.reason

    def attribution(self, kind: MapKind) -> Attribution | None:
        """The map of this kind, or None if it is not part of the answer."""
        return next((attribution for attribution in self.attributions if attribution.map is kind), None)

    @property
    def primary(self) -> Attribution:
        """The map whose flag is the answer's flag."""
        return next(attribution for attribution in self.attributions if attribution.map is self.primary_map)

    @property
    def shown(self) -> Attribution:
        """The map that a user interface should show, with its flag: the recommended one if any, else the primary."""
        return self.attribution(self.recommended_map) or self.primary

    @property
    def words(self) -> tuple[Word, ...]:
        """The units in reading order, with weights of the primary map."""
        return self.words_of(self.primary)

    def words_of(self, attribution: Attribution) -> tuple[Word, ...]:
        """The units in reading order, with weights of one of this answer's maps."""
        effects = {effect.unit: effect for effect in self.effects}
        pairs = zip(self.units, attribution.scores, strict=True)
        return tuple(Word(unit=unit, score=score, effect=effects.get(i)) for i, (unit, score) in enumerate(pairs))

    def show(self) -> None:
        """Show the whole answer, verdict first: as its page in a notebook, else on standard output.

        In colour if that is a terminal and NO_COLOR is not set; only a FAITHFUL map is drawn as a picture.
        """
        _showing.show(self)

    def _repr_html_(self) -> str:
        """What a notebook shows of an answer that ends a cell: its page, in a frame of its own."""
        return _showing.framed(self)

    def to_dict(self) -> dict[str, JsonValue]:
        """The answer as values that `json.dumps` takes.

        Enums become their names, tuples lists, bytes Base64, seeds strings (64 bits do not survive every JSON reader),
        and numbers that JSON does not have the strings "NaN", "Infinity" and "-Infinity".
        """
        return plain(self)
