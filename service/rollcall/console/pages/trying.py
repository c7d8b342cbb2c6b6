"""Trying: a text in, and a checked picture out."""

from __future__ import annotations

from markupsafe import Markup
from starlette.responses import Response

from rollcall.console.visiting import Visit
from rollcall_client import AuditChoice, CheckLevel, RollcallError
from rollcall_client.html import render_article

SECONDS = 300.0
LEVELS = {"standard": CheckLevel.STANDARD, "thorough": CheckLevel.THOROUGH, "none": CheckLevel.NONE}


def show(visit: Visit) -> Response:
    """Ask for a text."""
    return visit.show("try.html", models=visit.client.models(), levels=LEVELS, article=None, explanation=None)


def explain(visit: Visit) -> Response:
    """Explain a text, and show what may be relied on. It is recorded as any answer, unless that is not wanted."""
    models = visit.client.models()
    level = LEVELS.get(visit.given("level"), CheckLevel.STANDARD)
    audit = AuditChoice.OFF if visit.given("record") == "no" else AuditChoice.DEFAULT
    try:
        found = visit.client.explain(
            visit.form.get("text", ""),
            text_pair=visit.form.get("text_pair", "") or None,
            word=int(word) if (word := visit.given("word")).isdecimal() else None,
            model=visit.given("model"),
            level=level,
            audit=audit,
            timeout=SECONDS,
        )
    except RollcallError as error:
        return visit.refused("try.html", error, models=models, levels=LEVELS, article=None, explanation=None)
    article = Markup(render_article(found, title="Tried just now"))  # noqa: S704 - escaped there
    return visit.show("try.html", models=models, levels=LEVELS, article=article, explanation=found, typed=visit.form)
