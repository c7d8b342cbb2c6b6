"""An explanation for people at a terminal. The verdict comes first; only a FAITHFUL map is drawn as a picture.

A map that may not be relied on is never coloured, and its weights appear as numbers only, under a line that says so.
The difference is in the text as well as in the colours.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

from rollcall_client import phrases
from rollcall_client._screen import Line, Span, Style, clip, flow, paint, prose, table
from rollcall_client.enums import CheckKind, Flag
from rollcall_client.reading import (
    ABSENT,
    asked_sentence,
    chance,
    decisive,
    flip_sentence,
    gap,
    instead_sentence,
    largest,
    looked_at,
    map_notices,
    measurement,
    notices,
    number,
    policy_sentence,
    prediction_sentence,
    record_sentence,
    rivals,
    share,
    shown_sentence,
    signed,
    strongest_first,
    target_words,
    thorough,
    trusted,
    unit_name,
    witness_sentence,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollcall_client.explanation import Explanation, Word
    from rollcall_client.types import Attribution, Witness

_NARROWEST = 64
_MOST_ROWS = 20
_MOST_BAR_COLUMNS = 24
_WIDEST_WORD = 24
_HEAT = (Style.PLAIN, Style.HEAT_1, Style.HEAT_2, Style.HEAT_3, Style.HEAT_4, Style.HEAT_5)
_BADGES = {
    Flag.FAITHFUL: Style.GOOD,
    Flag.UNFAITHFUL: Style.BAD,
    Flag.INCONCLUSIVE: Style.UNSURE,
    Flag.NOT_CHECKED: Style.UNCHECKED,
}


def render(explanation: Explanation, *, color: bool, width: int) -> str:
    """The explanation as lines of at most `width` columns (at least 64), with ANSI colours if `color`.

    Single words that are longer than a line overflow. Characters that could command the terminal, or reorder or hide
    text, are shown as escapes.
    """
    return paint(_lines(explanation, max(width, _NARROWEST)), color=color)


def _lines(explanation: Explanation, width: int) -> Iterator[Line]:
    yield from _verdict(explanation, width)
    yield from _section("Map shown:", shown_sentence(explanation), width)
    yield from _map(explanation, width)
    yield from _section(
        "Measured effects:", f"log-odds, + pushes towards {target_words(explanation.prediction)}", width
    )
    yield from _effects(explanation, width)
    yield from _section("Smallest change of the decision", "", width)
    yield from prose(flip_sentence(explanation), width, indent="  ")
    yield from _section("All maps", "", width)
    yield from _maps(explanation, width)
    for attribution in looked_at(explanation):
        yield from _section("Checks", f"of {attribution.map.words}", width)
        yield from _checks(explanation, attribution, width)
    for attribution in looked_at(explanation):
        if thorough(attribution.verdict):
            yield from _section("Thorough checks", f"of {attribution.map.words}. {phrases.THOROUGH}", width)
            yield from _thorough(attribution, width)
    for attribution, rival in rivals(explanation):
        yield from _section("The most different map with the same prediction", f"as {attribution.map.words}", width)
        yield from _rival(explanation, attribution, rival, width)
    yield from _questions(explanation, width)
    yield from _section("Time", "", width)
    yield from _timing(explanation, width)


def _section(title: str, remark: str, width: int) -> Iterator[Line]:
    yield ()
    yield from flow([("", Span(title, Style.BOLD)), (" ", Span(remark, Style.DIM))], width)


def _verdict(explanation: Explanation, width: int) -> Iterator[Line]:
    verdict = explanation.verdict
    badge = Span(f" {verdict.flag.words.upper()} ", _BADGES.get(verdict.flag, Style.BAD))
    yield (badge, Span(f" {explanation.primary_map.words}", Style.BOLD))
    sentence = f"{phrases.flag_sentence(verdict.flag, verdict.reason)} {instead_sentence(explanation)}"
    yield from prose(sentence.rstrip(), width, Style.BOLD)
    yield from prose(policy_sentence(verdict), width, Style.DIM)
    yield ()
    yield from flow(
        [("", Span("Prediction:", Style.BOLD)), (" ", Span(prediction_sentence(explanation.prediction)))], width
    )
    if explanation.word is not None:
        yield from prose(f"{asked_sentence(explanation)}, marked \N{RIGHTWARDS ARROW} below.", width)
    model = explanation.model
    name = " ".join(part for part in ("Model", model.name, model.revision, model.digest) if part)
    yield from prose(name, width, Style.DIM)
    yield from _notes(notices(explanation), width)


def _notes(notes: tuple[str, ...], width: int, indent: str = "") -> Iterator[Line]:
    for note in notes:
        yield from prose(f"Note: {note}", width, indent=indent)


def _map(explanation: Explanation, width: int) -> Iterator[Line]:
    shown = explanation.shown
    words = explanation.words_of(shown)
    label = phrases.flag_label(shown.verdict.flag)
    badge = Span(f"[{shown.verdict.flag.words.upper()}: {label}]", _BADGES.get(shown.verdict.flag, Style.BAD))
    yield (Span("  "), badge)
    if trusted(shown):
        asked = explanation.asked
        yield from _grid(words) if explanation.image_size else flow(_picture(words, asked), width, indent="  ")
        yield from _notes(map_notices(shown), width, indent="  ")
        return
    if explanation.image_size is None:
        yield from flow(_text(words, explanation.asked), width, indent="  ")
    yield from prose(f"Weights of this map, for the record only ({label}):", width, Style.DIM, indent="  ")
    heaviest = sorted(words, key=lambda word: -word.score if math.isfinite(word.score) else 0.0)[:_MOST_ROWS]
    rows = [(_name(word, Style.DIM), Span(number(word.score), Style.DIM)) for word in heaviest]
    yield from table(rows, width, numbers=frozenset({1}), indent="    ") if rows else ()
    yield from _rest(len(words) - len(rows), f"lighter {unit_name(explanation)}s")
    yield from _notes(map_notices(shown), width, indent="  ")


def _picture(words: tuple[Word, ...], asked: int | None) -> Iterator[tuple[str, Span]]:
    """Words with their weight as colour and, from the mean weight upwards, as a number; the `asked` one marked."""
    top = largest(tuple(word.score for word in words))
    before = None
    for index, word in enumerate(words):
        heat = _HEAT[round(share(word.score, top) * (len(_HEAT) - 1))]
        yield gap(before, word.unit), Span(_marked(word, index == asked), heat)
        if word.score * len(words) >= 1:
            yield "", Span(f"⟨{100 * word.score:.0f}\N{NO-BREAK SPACE}%⟩", Style.BOLD)
        before = word.unit


def _grid(words: tuple[Word, ...]) -> Iterator[Line]:
    """Blocks of an image where they lie, each with its weight in per cent, and as colour."""
    top = largest(tuple(word.score for word in words))
    for _, row in groupby(words, key=lambda word: word.unit.box.top if word.unit.box else 0):
        cells = ((word, _HEAT[round(share(word.score, top) * (len(_HEAT) - 1))]) for word in row)
        yield (Span("  "), *(Span(f"{100 * word.score:4.0f} ", heat) for word, heat in cells))


def _text(words: tuple[Word, ...], asked: int | None) -> Iterator[tuple[str, Span]]:
    before = None
    for index, word in enumerate(words):
        yield gap(before, word.unit), Span(_marked(word, index == asked), Style.DIM)
        before = word.unit


def _marked(word: Word, is_asked: bool) -> str:  # noqa: FBT001 - of a private function
    return f"\N{RIGHTWARDS ARROW}{word.unit.text}" if is_asked else word.unit.text


def _name(word: Word, style: Style = Style.PLAIN) -> Span:
    return Span(clip(Span(word.unit.text).text, _WIDEST_WORD), style)


def _rest(count: int, which: str) -> Iterator[Line]:
    if count > 0:
        yield (Span(f"    and {count} {which}", Style.DIM),)


def _effects(explanation: Explanation, width: int) -> Iterator[Line]:
    words = strongest_first(explanation.words)
    if not words:
        yield (Span("  Not measured: the answer was not checked."),)
        return
    top = largest(tuple(effect.effect for effect in explanation.effects))
    half = min(_MOST_BAR_COLUMNS, (width - _WIDEST_WORD - 22) // 2)
    rows = [
        (
            _name(word),
            Span(
                _bar(word.effect.effect, top, max(half, 2)), Style.TOWARDS if word.effect.effect > 0 else Style.AGAINST
            ),
            Span(signed(word.effect.effect)),
            Span(f"± {number(word.effect.standard_error, 2)}", Style.DIM),
        )
        for word in words[:_MOST_ROWS]
        if word.effect
    ]
    yield from table(rows, width, numbers=frozenset({2, 3}))
    yield from _rest(len(words) - len(rows), f"weaker {unit_name(explanation)}s")


def _bar(value: float, top: float, half: int) -> str:
    """A bar on either side of an axis: left against the target, right towards it."""
    length = round(share(abs(value), top) * half)
    left, right = ("", "█" * length) if value > 0 else ("░" * length, "")
    return f"{left:>{half}}│{right:<{half}}"


def _maps(explanation: Explanation, width: int) -> Iterator[Line]:
    header = tuple(Span(title, Style.DIM) for title in ("map", "flag", "reason", "A", "±", "known", "removals"))
    yield from table(
        [header, *(_map_row(item) for item in explanation.attributions)], width, numbers=frozenset({3, 4, 5, 6})
    )
    yield from prose(phrases.ALIGNMENT, width, Style.DIM, indent="  ")


def _map_row(attribution: Attribution) -> tuple[Span, ...]:
    verdict, alignment = attribution.verdict, attribution.verdict.alignment
    numbers = (
        (signed(alignment.value), number(alignment.width, 2), number(alignment.reliability, 2), str(alignment.removals))
        if alignment
        else (ABSENT,) * 4
    )
    reason = verdict.reason.words if verdict.reason.value else ABSENT
    return (
        Span(attribution.map.words),
        Span(verdict.flag.words.upper(), Style.BOLD if trusted(attribution) else Style.DIM),
        Span(reason),
        *(Span(text) for text in numbers),
    )


def _checks(explanation: Explanation, attribution: Attribution, width: int) -> Iterator[Line]:
    verdict = attribution.verdict
    if not verdict.checks:
        yield (Span("  None ran."),)
        return
    header = tuple(Span(title, Style.DIM) for title in ("check", "found", "measured", "rows"))
    rows = [
        (
            Span(check.kind.words),
            Span(phrases.OUTCOMES.get(check.outcome, check.outcome.words)),
            Span(measurement(check)),
            Span(str(check.rows)),
        )
        for check in decisive(verdict)
    ]
    yield from table([header, *rows], width, numbers=frozenset({3}))
    for witness in verdict.witnesses:
        if witness.kind is CheckKind.ADVERSARY:
            continue  # it has a section of its own, and is no counterexample
        sentence = witness_sentence(witness, explanation.units)
        yield from prose(f"Counterexample ({witness.kind.words}): {sentence}", width, indent="  ")


def _thorough(attribution: Attribution, width: int) -> Iterator[Line]:
    header = tuple(Span(title, Style.DIM) for title in ("check", "found", "measured", "by chance", "rows"))
    rows = [
        (
            Span(check.kind.words),
            Span(phrases.OUTCOMES.get(check.outcome, check.outcome.words)),
            Span(measurement(check)),
            Span(chance(check)),
            Span(str(check.rows)),
        )
        for check in thorough(attribution.verdict)
    ]
    yield from table([header, *rows], width, numbers=frozenset({3, 4}))


def _rival(explanation: Explanation, attribution: Attribution, rival: Witness, width: int) -> Iterator[Line]:
    """A map beside its rival, the words whose weights differ most first."""
    pairs = zip(explanation.words_of(attribution), rival.map, strict=True)
    ordered = sorted(pairs, key=lambda pair: -abs(pair[0].score - pair[1]) if math.isfinite(pair[1]) else 0.0)
    rows = [
        (_name(word), Span(number(word.score)), Span(number(other)), Span(signed(other - word.score), Style.DIM))
        for word, other in ordered[:_MOST_ROWS]
    ]
    header = tuple(Span(title, Style.DIM) for title in ("word", attribution.map.words, "the other", "difference"))
    yield from table([header, *rows], width, numbers=frozenset({1, 2, 3}))
    yield from _rest(len(ordered) - len(rows), f"less different {unit_name(explanation)}s")
    yield from prose(f"{witness_sentence(rival, explanation.units)} {phrases.ADVERSARY}", width, indent="  ")


def _questions(explanation: Explanation, width: int) -> Iterator[Line]:
    checks = [check for attribution in looked_at(explanation) for check in attribution.verdict.checks]
    # The maps share most checks: what two of them say alike is said once, and each question is asked once.
    said: dict[CheckKind, dict[str, None]] = {}
    for check in checks:
        said.setdefault(check.kind, {})[check.detail] = None
    for kind, details in said.items():
        question = phrases.CHECKS.get(kind, phrases.UNKNOWN_CHECK)
        sentences = " ".join(detail for detail in details if detail)
        yield from prose(f"{kind.words}: {question} {sentences}".rstrip(), width, Style.DIM, indent="  ")


def _timing(explanation: Explanation, width: int) -> Iterator[Line]:
    timing = explanation.timing
    rows = [(Span(stage.stage), Span(f"{1000 * stage.seconds:.1f} ms")) for stage in timing.stages]
    total = (Span("total", Style.BOLD), Span(f"{1000 * timing.total_seconds:.1f} ms", Style.BOLD))
    yield from table([*rows, total], width, numbers=frozenset({1}))
    yield (Span(f"  {explanation.rows} forward rows, seed {explanation.seed}"),)
    yield from prose(
        f"Explanation {explanation.explanation_id}, request {explanation.request_id}", width, Style.DIM, "  "
    )
    yield from prose(record_sentence(explanation), width, Style.DIM, "  ")
