"""Explanations for people in a browser: one file, no network, the verdict first.

Order and words are those of the terminal. Weights become a picture only where the map is FAITHFUL; every other map is
hatched, captioned, and has its weights as numbers behind a click. All texts are hostile: they are escaped, made
visible, and a content security policy forbids everything but the page's own script and styles, by their digests.
`render_article` gives the same for a page of one's own.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING

from rollcall_client import phrases
from rollcall_client._page.attention import attention
from rollcall_client._page.bars import bar_cell
from rollcall_client._page.checks import checks
from rollcall_client._page.effects import decision_flip, effects
from rollcall_client._page.maps import adversaries, maps, twins
from rollcall_client._page.markup import NOTHING, Markup, element, foreign, join
from rollcall_client._page.tables import row, table
from rollcall_client._page.words import flag_badge, notes, picture
from rollcall_client.explanation import Explanation
from rollcall_client.reading import (
    asked_sentence,
    gap,
    instead_sentence,
    looked_at,
    notices,
    percent,
    policy_sentence,
    shown_sentence,
    signed,
    target_words,
    unit_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollcall_client.types import Prediction, Timing

_CLASSES_IN_SIGHT = 6
_EXCERPT_CHARACTERS = 80


def render_page(explanations: Explanation | Sequence[Explanation], *, title: str = "Rollcall") -> str:
    """A complete HTML document about one explanation or several, with an overview first if there are several."""
    answers = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    style, script = f"\n{style_sheet()}", _resource("script.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hashed(style)}; script-src {_hashed(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    body = join(
        element("header", element("p", "Rollcall", class_="brand"), element("h1", foreign(title)), class_="page"),
        _overview(answers) if len(answers) != 1 else NOTHING,
        element(
            "main", *(_answer(answer, position, f"Answer {position}") for position, answer in enumerate(answers, 1))
        ),
    )
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"{element('title', title).source}\n<style>{style}</style>\n</head>\n"
        f"<body>\n{body.source}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def render_article(explanation: Explanation, *, title: str) -> str:
    """An explanation as one `article`, for a page of one's own that links `style_sheet()`.

    It holds neither scripts nor styles, so that any content security policy may hold; attention by head is left out.
    """
    return _answer(replace(explanation, attention=None), 1, title).source


def style_sheet() -> str:
    """What an article looks like, in light and in dark: CSS."""
    return _resource("style.css")


def _hashed(content: str) -> str:
    """How a content security policy names what it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _resource(name: str) -> str:
    return resources.files("rollcall_client._page").joinpath(name).read_text(encoding="utf-8")


def _overview(answers: Sequence[Explanation]) -> Markup:
    rows = [
        row(
            element("a", str(position), href=f"#answer-{position}"),
            element("td", flag_badge(answer.flag)),
            element("td", f"{answer.shown.map.words} ", flag_badge(answer.shown.verdict.flag)),
            element("td", foreign(answer.prediction.predicted), f", {percent(answer.prediction.probability)}"),
            element("td", foreign(_excerpt(answer))),
        )
        for position, answer in enumerate(answers, 1)
    ]
    titles = dict.fromkeys(("Answer", "Flag", "Map shown", "Prediction", "Text"), "")
    content = table(titles, rows, class_="plain")
    return element("nav", element("h2", f"{len(answers)} answers"), content, aria_label="Overview", class_="card")


def _excerpt(answer: Explanation) -> str:
    pairs = zip((None, *answer.units), answer.units, strict=False)
    text = "".join(gap(before, unit).replace("\n", " | ") + unit.text for before, unit in pairs)
    return text if len(text) <= _EXCERPT_CHARACTERS else f"{text[:_EXCERPT_CHARACTERS]}…"


def _answer(answer: Explanation, position: int, title: str) -> Markup:
    target = target_words(answer.prediction)
    return element(
        "article",
        _verdict(answer, title),
        _prediction(answer),
        _section("Map shown", shown_sentence(answer), picture(answer, answer.shown)),
        _section(
            f"What the {unit_name(answer)}s do, measured",
            f"Log-odds for {target}, each with one standard error; positive pushes towards it.",
            effects(answer),
        ),
        _section("Smallest change of the decision", "", decision_flip(answer)),
        twins(answer),
        adversaries(answer),
        _section("All maps", "", maps(answer)),
        _section("Checks", "", *(checks(answer, attribution) for attribution in looked_at(answer))),
        _section("Attention by layer and head", "", attention(answer))
        if answer.attention and not answer.image_size
        else NOTHING,
        _section("Time", "", _timing(answer.timing), _identity(answer)),
        id=f"answer-{position}",
    )


def _section(title: str, remark: str, *content: Markup) -> Markup:
    return element(
        "section", element("h3", title), element("p", remark, class_="remark") if remark else NOTHING, *content
    )


def _verdict(answer: Explanation, title: str) -> Markup:
    verdict = answer.verdict
    sentence = phrases.flag_sentence(verdict.flag, verdict.reason)
    return element(
        "section",
        element("p", title, class_="brand"),
        element("h2", flag_badge(verdict.flag), f" {answer.primary_map.words}"),
        element("p", f"{sentence} {instead_sentence(answer)}", class_="sentence"),
        element("p", policy_sentence(verdict), class_="promise"),
        class_="verdict",
        data_flag=verdict.flag.name,
    )


def _prediction(answer: Explanation) -> Markup:
    prediction = answer.prediction
    rule = {None: "", True: " The decision rule is met.", False: " The decision rule is not met."}
    margin = f"Margin {signed(prediction.margin)} log-odds for {target_words(prediction)}; zero is the tipping point."
    return element(
        "section",
        element("h3", "Prediction"),
        element("p", foreign(asked_sentence(answer)), ", underlined below.") if answer.word else NOTHING,
        element("p", foreign(prediction.predicted), f" {percent(prediction.probability)}", class_="predicted"),
        _classes(prediction),
        element("p", f"{margin}{rule[prediction.threshold_met]}"),
        notes(notices(answer)),
    )


def _classes(prediction: Prediction) -> Markup:
    pairs = sorted(zip(prediction.probabilities, prediction.labels, strict=True), key=lambda pair: -pair[0])
    rows = [
        row(foreign(label), bar_cell(probability, 1.0, percent(probability)))
        for probability, label in pairs[:_CLASSES_IN_SIGHT]
    ]
    hidden = len(pairs) - len(rows)
    more = element("p", f"and {hidden} less probable labels", class_="remark") if hidden else NOTHING
    return join(table({}, rows, class_="twins classes"), more)


def _timing(timing: Timing) -> Markup:
    longest = max((stage.seconds for stage in timing.stages), default=0.0)
    rows = [
        row(stage.stage, bar_cell(stage.seconds, longest, f"{1000 * stage.seconds:.1f} ms")) for stage in timing.stages
    ]
    total = row("total", element("td", element("b", f"{1000 * timing.total_seconds:.1f} ms")))
    return table({}, [*rows, total], class_="twins")


def _identity(answer: Explanation) -> Markup:
    model = answer.model
    facts = (
        ("Explanation", answer.explanation_id),
        ("Request", answer.request_id),
        ("Model", f"{model.name} {model.revision}"),
        ("Weights", model.digest),
        ("Runs on", f"{model.backend}, {model.device}, {model.dtype}"),
        ("Forward rows", str(answer.rows)),
        ("Seed", str(answer.seed)),
        ("Policy", f"{answer.verdict.policy_id} {answer.verdict.policy_digest}"),
    )
    return element("dl", *(join(element("dt", name), element("dd", foreign(value))) for name, value in facts))
