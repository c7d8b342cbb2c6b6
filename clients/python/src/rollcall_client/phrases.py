"""Every flag, reason, check and map in plain English, once: the terminal and the page say the same.

What is not in a table came from a newer service; the lookups below have a sentence for it that promises nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall_client.enums import CheckKind, CheckOutcome, Flag, MapKind, Reason, RemovalOperator, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollcall_client.types import CalibrationRef

FLAGS: Mapping[Flag, str] = {
    Flag.FAITHFUL: "This map may be relied on: its weights follow the measured effects of the words on this decision.",
    Flag.UNFAITHFUL: "Do not rely on this map: its weights do not follow the measured effects of the words.",
    Flag.INCONCLUSIVE: "Do not rely on this map: the checks could not tell whether it is faithful.",
    Flag.NOT_CHECKED: "Not checked: nobody measured whether this map may be relied on.",
}
UNKNOWN_FLAG = "Do not rely on this map: the service sent a flag that this client does not know."

LABELS: Mapping[Flag, str] = {
    Flag.FAITHFUL: "may be relied on",
    Flag.NOT_CHECKED: "nobody measured whether it may be relied on",
}
UNTRUSTED_LABEL = "do not rely on this map"

REASONS: Mapping[Reason, str] = {
    Reason.NO_EFFECT: "Removing every word hardly moves the decision, so there is nothing for a map to explain.",
    Reason.FLAT_MAP: "The map is nearly uniform and so says nothing.",
    Reason.LOW_POWER: "The evidence did not suffice, even with the largest number of removals.",
    Reason.OMISSION: "The map follows the effects but leaves out a word whose effect may be the largest.",
    Reason.NOT_USED: "Very different attention mostly gives the same answer, so the attention is not what decides.",
    Reason.OPERATOR_DISAGREEMENT: "The two ways of removing a word disagree about this map.",
    Reason.CONFLICT: "The map follows the effects, but a counterexample that can be replayed turned up.",
    Reason.INSTRUMENT: "The measuring instrument failed its own test, so its measurements cannot be trusted.",
    Reason.NUMERICS: "The model produced values that are not numbers.",
    Reason.BUDGET: "Time, rows or load ended the checks before they could decide.",
    Reason.UNCALIBRATED: "The policy demands a calibration, and this model has none.",
}
UNKNOWN_REASON = "The service sent a reason that this client does not know."

CHECKS: Mapping[CheckKind, str] = {
    CheckKind.INSTRUMENT: "Does the measuring instrument itself work?",
    CheckKind.REACH: "Does the decision depend on the words at all?",
    CheckKind.ALIGNMENT: "Do the map's weights follow the effects of the words? This check decides.",
    CheckKind.REWIRING: "How probable is it that very different attention gives the same answer?",
    CheckKind.UNIFORM_ATTENTION: "What does uniform attention do to the answer? Shown only, never decides.",
    CheckKind.OMISSION: "Does the map call negligible what the decision hangs on?",
    CheckKind.SUPPORT: "Does what the map calls important carry the decision alone?",
    CheckKind.CONTRADICTION: "Can the map's top go without effect, while its bottom changes the decision?",
    CheckKind.DECISION_FLIP: "Which smallest set of words changes the decision when removed?",
    CheckKind.OPERATOR_RULE: "Does each way of removing words say the same about the map, by itself?",
    CheckKind.STRATIFIED_NULL: "Is the map better than one that merely marks content words, or the right place?",
    CheckKind.REWIRING_SCOPES: "Whose attention must be very different before the answer changes?",
    CheckKind.KNOCK_OUT: "Does attention to the map's top words carry the decision more than to random words?",
    CheckKind.ERASURE: "How far does the prediction fall without the map's top words, and with only them?",
    CheckKind.RANK_AGREEMENT: "Does the map order the words as another method does?",
    CheckKind.ADVERSARY: "How different may attention be while the prediction stays? Shown only.",
    CheckKind.HEADS: "Which attention heads change the decision when they are silenced?",
}
THOROUGH = "Numbers and witnesses beside the flag; none of them decides."
ADVERSARY = "Such a map is found for nearly every text."
UNKNOWN_CHECK = "A check that this client does not know."

OUTCOMES: Mapping[CheckOutcome, str] = {
    CheckOutcome.SUPPORTS: "supports the map",
    CheckOutcome.CONTRADICTS: "speaks against the map",
    CheckOutcome.INCONCLUSIVE: "could not tell",
    CheckOutcome.SKIPPED: "did not run",
    CheckOutcome.ERRORED: "crashed; no evidence",
    CheckOutcome.MEASURED: "measured",
}

MAPS: Mapping[MapKind, str] = {
    MapKind.RAW_ATTENTION: "Attention of the last layer's read-out position, averaged over heads.",
    MapKind.ATTENTION_ROLLOUT: "Attention followed through all layers, the residual included.",
    MapKind.ATTENTION_FLOW: "How much could flow from each word to the answer if attention were a network of pipes.",
    MapKind.NORM_ROLLOUT: "The sizes of what attention really carries, followed through all layers.",
    MapKind.GRADIENT_ROLLOUT: "Attention weighted by its gradient for the target, followed through all layers.",
    MapKind.INPUT_X_GRADIENT: "How strongly the answer reacts to a small change of each word; what speaks for it.",
    MapKind.INTEGRATED_GRADIENTS: "The same, averaged on the way from the masked text to the text itself.",
    MapKind.LEAVE_ONE_OUT: "How far the answer falls back when each word alone is removed.",
    MapKind.EFFECT: "The first measured effects themselves, as far as they speak for the answer.",
    MapKind.DECOMPOSITION: "The share of each word in the answer's score, followed through all layers.",
}
UNKNOWN_MAP = "A map that this client does not know."

OPERATORS: Mapping[RemovalOperator, str] = {
    RemovalOperator.MASK_TOKEN: "replaced by the mask token",
    RemovalOperator.HIDDEN_KEYS: "hidden from attention",
    RemovalOperator.DELETION: "taken out of the text",
    RemovalOperator.MEAN_PATCH: "filled with the image's mean colour",
    RemovalOperator.BLURRED_PATCH: "blurred",
}

SCOPES: Mapping[Scope, str] = {
    Scope.ALL_LAYERS: "Evidence: parts of the input removed, and attention edited in all layers.",
    Scope.INPUT_ONLY: "Evidence: parts of the input removed only. This model's attention cannot be edited.",
}

CALIBRATIONS: Mapping[str, str] = {
    "": "No calibration: the flag carries no promise about its error rate.",
    "NONE": "No calibration: the flag carries no promise about its error rate.",
    "FAILED": "The calibration failed: the flag carries no promise about its error rate.",
    "OUT_OF_RANGE": "Longer than the texts of the calibration: the flag carries no promise about its error rate.",
}

ALIGNMENT = (
    "A is 1 where the weights follow the effects as well as these weights can, 0 where they do no better than chance, "
    "and -1 where they do as badly as they can. ± is the width with which A was compared; known, from 0 to 1, is how "
    "well the effects are known."
)


def flag_sentence(flag: Flag, reason: Reason) -> str:
    """What a flag means for the reader, and why it is so where there is a reason."""
    sentence = FLAGS.get(flag, UNKNOWN_FLAG)
    return sentence if reason is Reason.UNSPECIFIED else f"{sentence} {REASONS.get(reason, UNKNOWN_REASON)}"


def flag_label(flag: Flag) -> str:
    """The same in three words; only FAITHFUL says yes."""
    return LABELS.get(flag, UNTRUSTED_LABEL)


def calibration_sentence(calibration: CalibrationRef | None) -> str:
    """What the calibration promises about the flag."""
    name = calibration.id if calibration else ""
    if calibration is None or name in CALIBRATIONS:
        return CALIBRATIONS[name]
    head = f"Calibration {name}" + (f" of {calibration.created:%Y-%m-%d}" if calibration.created else "")
    return f"{head}: {calibration.statement}" if calibration.statement else f"{head}."
