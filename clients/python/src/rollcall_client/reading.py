"""What there is to say of an explanation, in the order of importance: shared by the terminal and the page.

Texts returned here may hold characters of strangers: whoever prints them makes them visible first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rollcall_client.enums import CheckKind, Flag, MapKind, RemovalOperator
from rollcall_client.phrases import CHECKS, OPERATORS, SCOPES, UNKNOWN_CHECK, calibration_sentence

if TYPE_CHECKING:
    from rollcall_client.explanation import Explanation, Word
    from rollcall_client.types import Attribution, CheckResult, Prediction, Unit, Verdict, Witness

ABSENT = "—"
_ALMOST_ONE = 0.9995
_LARGE = 1000
# The order of DecisionFlip.margins.
_OF_TEXT = (RemovalOperator.MASK_TOKEN, RemovalOperator.HIDDEN_KEYS)
_OF_IMAGES = (RemovalOperator.MEAN_PATCH, RemovalOperator.HIDDEN_KEYS)
_EXPERIMENTAL = (
    "Explanations of such a model are experimental: the thresholds behind the flags were found on classifiers of "
    "texts, and nothing is known of how often its flags are wrong."
)


def unit_name(explanation: Explanation) -> str:
    """What people call the parts that were removed: "word", or "block" of an image."""
    return "word" if explanation.image_size is None else "block"


def trusted(attribution: Attribution) -> bool:
    """Whether the map may be drawn as something to rely on: FAITHFUL, and nothing else."""
    return attribution.verdict.flag is Flag.FAITHFUL


def looked_at(explanation: Explanation) -> tuple[Attribution, ...]:
    """The maps whose evidence matters: the answer's, and the one that is shown if it is another."""
    primary, shown = explanation.primary, explanation.shown
    return (primary,) if shown is primary else (primary, shown)


def share(value: float, largest: float) -> float:
    """The value as a share of the largest, between 0 and 1; 0 for what is not a number."""
    ratio = value / largest if largest else 0.0
    return min(max(ratio, 0.0), 1.0) if math.isfinite(ratio) else 0.0


def largest(values: tuple[float, ...]) -> float:
    """The largest size among the values that are numbers, 0 if there is none."""
    return max((abs(value) for value in values if math.isfinite(value)), default=0.0)


def percent(probability: float) -> str:
    """A probability in per cent, unbroken; never "100.0 %" for what is not certain."""
    return (
        "> 99.9\N{NO-BREAK SPACE}%" if _ALMOST_ONE <= probability < 1 else f"{100 * probability:.1f}\N{NO-BREAK SPACE}%"
    )


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash for an absent one."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def signed(value: float) -> str:
    """A number with its sign."""
    return f"{value:+.2f}"


def gap(before: Unit | None, unit: Unit) -> str:
    """What stands between two units of a text: nothing, a space, or a line break between the texts of a pair."""
    if before is None:
        return ""
    if unit.segment != before.segment:
        return "\n"
    touching = before.char_end > before.char_start and unit.char_start == before.char_end
    return "" if touching else " "


def strongest_first(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """The words with a measured effect, the largest effect of either sign first."""
    measured = [(abs(word.effect.effect), word) for word in words if word.effect]
    return tuple(word for _, word in sorted(measured, key=lambda pair: -pair[0] if math.isfinite(pair[0]) else 0.0))


def target_words(prediction: Prediction) -> str:
    """The class that margin and effects speak for."""
    return f"not {prediction.target}" if prediction.target_negated else prediction.target


def prediction_sentence(prediction: Prediction) -> str:
    """Label, probability, margin, and the decision rule's answer if there is a rule."""
    sentence = (
        f"{prediction.predicted}, {percent(prediction.probability)}; "
        f"margin {signed(prediction.margin)} log-odds for {target_words(prediction)}"
    )
    if prediction.threshold_met is None:
        return sentence
    return f"{sentence}; decision rule {'met' if prediction.threshold_met else 'not met'}"


def asked_sentence(explanation: Explanation) -> str:
    """Which word the label is of; empty for models that do not label words."""
    word = explanation.word
    if word is None:
        return ""
    place = f", characters {word.char_start} to {word.char_end}" if word.char_end else ""
    return f"Label of the word \N{LEFT DOUBLE QUOTATION MARK}{word.text}\N{RIGHT DOUBLE QUOTATION MARK}{place}"


def shown_sentence(explanation: Explanation) -> str:
    """Which map is shown, and why this one."""
    shown, primary = explanation.shown, explanation.primary
    if explanation.recommended_map is MapKind.UNSPECIFIED:
        return f"{shown.map.words}, the answer's map; no map of this answer is known to be faithful"
    if shown is primary:
        return f"{shown.map.words}, the answer's map and the recommended one"
    comparison = "its evidence is stronger than that of" if trusted(primary) else "it is faithful, in place of"
    return f"{shown.map.words}, the recommended map: {comparison} {primary.map.words}"


def instead_sentence(explanation: Explanation) -> str:
    """Where to look if not at the answer's own map; empty if that is shown."""
    shown, primary = explanation.shown, explanation.primary
    if shown is primary:
        return ""
    if trusted(primary):
        return f"Shown below is {shown.map.words}, whose evidence is stronger still."
    return f"Shown below in its place is {shown.map.words}, which may be relied on."


def notices(explanation: Explanation) -> tuple[str, ...]:
    """What a reader must know of the answer before drawing conclusions."""
    cut = f"The text was cut: the model read {explanation.tokens_used} of {explanation.tokens_total} tokens."
    grouped = "The text is long: consecutive words were grouped and count as one."
    if explanation.image_size:
        grouped = "Neighbouring patches of the image were grouped: each block counts as one."
    image = "This is about an image: where a sentence speaks of words, it means blocks of the image."
    missing = ((True, f"There is no {each.map.words}: {each.reason}") for each in explanation.missing_maps)
    return _applying(
        (explanation.reported_mismatch, "The label or score that was acted on differs from this prediction."),
        (explanation.truncated, cut),
        (explanation.image_size is not None, image),
        (explanation.experimental, _EXPERIMENTAL),
        (explanation.units_grouped, grouped),
        *missing,
    )


def side_sentence(attribution: Attribution) -> str:
    """What holds of a pair's two texts each for itself; nothing for other inputs."""
    names = ("first text", "second text")
    parts = [
        f"{names[side.segment]}: {side.flag.words}"
        + (f" ({side.reason.words})" if side.reason.value else "")
        + (f", A {signed(side.alignment)}" if side.alignment is not None else "")
        + f", {percent(side.share)} of the map"
        for side in attribution.verdict.sides
        if side.segment in range(len(names))
    ]
    return f"Each text for itself: {'; '.join(parts)}." if parts else ""


def map_notices(attribution: Attribution) -> tuple[str, ...]:
    """What a reader must know of a map before drawing conclusions."""
    dropped = f"{percent(attribution.dropped_mass)} of this map lay on special tokens and was dropped."
    return _applying(
        (not attribution.class_specific, "This map does not depend on the class: it looks the same for every answer."),
        (attribution.dropped_mass > 0, dropped),
        (bool(attribution.note), attribution.note),
        (bool(attribution.verdict.sides), side_sentence(attribution)),
    )


def _applying(*candidates: tuple[bool, str]) -> tuple[str, ...]:
    return tuple(text for applies, text in candidates if applies)


def flip_sentence(explanation: Explanation) -> str:
    """Which words change the decision when they are removed."""
    flip = explanation.decision_flip
    if flip is None:
        return "Not searched: the answer was not checked."
    if not flip.found:
        return (
            f"None within budget: no set of {unit_name(explanation)}s that was tried changes the decision "
            f"({flip.sets_tried} sets tried)."
        )
    words = quoted(flip.units, explanation.units)
    alignment = explanation.verdict.alignment
    operators = tuple(part.operator for part in alignment.per_operator) if alignment else ()
    operators = operators or (_OF_TEXT if explanation.image_size is None else _OF_IMAGES)
    margins = " and ".join(
        f"{signed(margin)} with them {OPERATORS.get(operator, operator.words)}"
        for margin, operator in zip(flip.margins, operators, strict=False)
    )
    sentence = f"Without {words} the decision changes"
    return f"{sentence}: the margin becomes {margins}." if margins else f"{sentence}."


def measurement(check: CheckResult) -> str:
    """A check's measured quantity, and what it is compared with."""
    if check.value is None:
        return ABSENT
    measured = f"{check.statistic.replace('_', ' ') or 'value'} {_short(check.value)}"
    return measured if check.threshold is None else f"{measured} against {_short(check.threshold)}"


def decisive(verdict: Verdict) -> tuple[CheckResult, ...]:
    """The checks that the flag rests on, and what always comes with them."""
    return tuple(check for check in verdict.checks if not check.kind.thorough)


def thorough(verdict: Verdict) -> tuple[CheckResult, ...]:
    """The checks that come at the level THOROUGH alone, and never decide."""
    return tuple(check for check in verdict.checks if check.kind.thorough)


def chance(check: CheckResult) -> str:
    """How probable as much is by chance, where the check says so."""
    return ABSENT if check.p_value is None else f"{check.p_value:.3f}"


def rivals(explanation: Explanation) -> tuple[tuple[Attribution, Witness], ...]:
    """Maps with the most different one that an adversary found at the same prediction."""
    return tuple(
        (attribution, witness)
        for attribution in explanation.attributions
        for witness in attribution.verdict.witnesses
        if witness.kind is CheckKind.ADVERSARY and witness.map
    )


def check_sentence(check: CheckResult) -> str:
    """What the check asks, and what it says."""
    return f"{CHECKS.get(check.kind, UNKNOWN_CHECK)} {check.detail}"


def _short(value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if abs(value) >= _LARGE else f"{value:.3g}"


def policy_sentence(verdict: Verdict) -> str:
    """What decided, what it promises, and which counterfactuals it rests on."""
    parts = (
        f"Policy {verdict.policy_id or 'not stated'}.",
        calibration_sentence(verdict.calibration),
        SCOPES.get(verdict.scope, ""),
    )
    return " ".join(part for part in parts if part)


def record_sentence(explanation: Explanation) -> str:
    """What became of the answer's record; nothing where the service keeps none."""
    receipt = explanation.audit
    if receipt is None:
        return ""
    if not receipt.record_id:
        return f"Not recorded: {receipt.note}."
    index = "" if receipt.log_index is None else f" at index {receipt.log_index} of the log"
    return f"Record {receipt.record_id} ({receipt.mode.words}), {receipt.state.words}{index}."


def witness_sentence(witness: Witness, units: tuple[Unit, ...]) -> str:
    """A counterexample: what it shows, the words it removes, and how far apart maps and predictions are."""
    parts = _applying(
        (bool(witness.removed_units), f"Removed: {quoted(witness.removed_units, units)}."),
        (bool(witness.control_units), f"Removed as a control: {quoted(witness.control_units, units)}."),
        (bool(witness.heads), f"Heads: {', '.join(f'layer {h.layer} head {h.head}' for h in witness.heads)}."),
        (witness.jsd is not None, f"The maps differ by {_short(witness.jsd)} nats, of at most 0.693."),
        (witness.tvd is not None, f"The predictions differ by {_short(witness.tvd)}, of at most 1."),
    )
    return " ".join((witness.detail, *parts))


def quoted(indices: tuple[int, ...], units: tuple[Unit, ...]) -> str:
    """Units by their texts, in quotes."""
    return ", ".join(f"“{units[index].text}”" for index in indices)
