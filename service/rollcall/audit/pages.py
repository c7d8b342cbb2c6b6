"""A record as one printable page of HTML that leads with its verdict. Pure.

No script and nothing from elsewhere; whatever the record says is escaped, and characters that turn the direction of
text or cannot be seen are written as their code.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rollcall.audit.queries import Kept

_MEANS = {
    "faithful": "The map says what the model used, within what its calibration promises.",
    "unfaithful": "The map does not say what the model used. Do not give it as a reason.",
    "inconclusive": "It could not be shown that the map says what the model used. Do not give it as a reason.",
    "not_checked": "The map was not checked. Do not give it as a reason.",
}
_HIDDEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Co", "Cs"})
"""Categories of characters that steer text, or show nothing."""
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}
h1{font-size:1.1rem;margin:0}h2{font-size:1rem;margin:1.4rem 0 .3rem;border-bottom:1px solid #999}
.verdict{border:3px solid #111;padding:.8rem 1rem;margin:0 0 1rem}
.verdict p{margin:.2rem 0}.flag{font-size:1.7rem;font-weight:700}
.doubtful{print-color-adjust:exact;background:repeating-linear-gradient(135deg,#fff 0 9px,#e4e4e4 9px 12px)}
table{border-collapse:collapse;width:100%;font-size:.85rem}th,td{border:1px solid #999;padding:.2rem .4rem;
text-align:left;vertical-align:top;overflow-wrap:anywhere}th{background:#eee}
dl{display:grid;grid-template-columns:11rem 1fr;gap:.1rem .8rem;margin:0}dd{margin:0;overflow-wrap:anywhere}
footer{margin-top:1.5rem;font-size:.8rem}@media print{body{margin:0}h2,table,.verdict{break-inside:avoid}}
"""

_FOOTER = """<footer>Made from the envelope that the log has under this digest. Verify it with the verifier of this
export, see README.txt. A log proves that nothing was changed since, not that a record was true when it was written.
</footer></body></html>
"""


def page(kept: Kept, body: Mapping[str, Any], checkpoint_size: int, words: Sequence[str] | None = None) -> str:
    """Write the page of a record; `body` is its envelope, read. `words`: its units, if they may be shown."""
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Record {shown(kept.record_id)}</title><style>{_STYLE}</style></head><body>\n",
        *_verdict(body),
        *_section("Decision", _facts(_decision(body))),
        *_text(body, words),
        *(_explained(body, words) if body["verdict"] is not None else ()),
        *_section("Origin", _facts(_origin(kept, body, checkpoint_size))),
        _FOOTER,
    ]
    return "".join(parts)


def shown(value: object) -> str:
    """Write a value so that no browser takes it for anything but text, and nothing in it is hidden."""
    text = "none" if value is None else "yes" if value is True else "no" if value is False else str(value)
    seen = (f"\\u{ord(c):04x}" if unicodedata.category(c) in _HIDDEN else c for c in text)
    return html.escape("".join(seen))


def _verdict(body: Mapping[str, Any]) -> Iterator[str]:
    verdict = body["verdict"]
    name = f"<h1>Record {shown(body['record_id'])}</h1>"
    if verdict is None:
        yield f'<div class="verdict doubtful"><p class="flag">NOT EXPLAINED</p>{name}<p>A decision; '
        yield "nothing says why it was made.</p></div>\n"
        return
    flag, usable = verdict["flag"], verdict["usable_for_notice"]
    reason = "" if verdict["reason"] == "none" else f" ({shown(verdict['reason'])})"
    blocked = "" if usable else f", because of: {shown(', '.join(verdict['blocked_by']))}"
    yield f'<div class="verdict{"" if flag == "faithful" else " doubtful"}">'
    yield f'<p class="flag">{shown(flag.upper().replace("_", " "))}{reason}</p>{name}'
    yield f"<p>{shown(_MEANS.get(flag, ''))} It is about the map {shown(verdict['map'])}, and rests on "
    yield f"{shown(verdict['scope'])}.</p><p>Usable for a notice to a person: <strong>{shown(usable)}</strong>"
    yield f"{blocked} (rule {shown(verdict['rule'])}).</p></div>\n"


def _decision(body: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    decided, reported = body["prediction"], body["request"]["reported"]
    yield "predicted", f"{decided['predicted']}, {decided['probabilities'][decided['predicted_index']]}"
    yield from zip(decided["labels"], decided["probabilities"], strict=True)
    yield "threshold met", decided["threshold_met"]
    yield "acted on", "another decision than this one" if reported["mismatch"] else "nothing else was reported"
    yield "decided at", body["created_at"]


def _text(body: Mapping[str, Any], words: Sequence[str] | None) -> Iterator[str]:
    read = body["input"]
    cut = f", cut off: it had {read['tokens_total']}" if read["truncated"] else ""
    told = f"{read['units']} words or tokens, {read['tokens_used']} tokens read{cut}."
    text = "" if words is None else f"<p>{' '.join(map(shown, words))}</p>"
    yield from _section("Input", [f"<p>{shown(told)}</p>{text}"])


def _explained(body: Mapping[str, Any], words: Sequence[str] | None) -> Iterator[str]:
    told = body["explanation"]
    maps = (
        [each["map"], each["verdict"]["flag"], each["verdict"]["reason"], _alignment(each), _top(each["top"], words)]
        for each in told["maps"]
    )
    yield from _section("Maps", _table(["map", "flag", "reason", "agreement", "heaviest units"], maps))
    primary = next(each for each in told["maps"] if each["map"] == body["verdict"]["map"])
    columns = ["check", "outcome", "statistic", "value", "threshold", "rows", "detail"]
    checks = ([check[column] for column in columns] for check in primary["verdict"]["checks"])
    yield from _section(f"Checks of {primary['map']}", _table(columns, checks))
    effects = ([_unit(e["unit"], words), e["effect"], e["standard_error"]] for e in told["top_effects"])
    yield from _section("What removing a unit does", _table(["unit", "effect", "standard error"], effects))
    flip = told["decision_flip"]
    if flip is not None:
        units = ", ".join(_unit(unit, words) for unit in flip["units"])
        found = f"without {units}" if flip["found"] else f"not found in {flip['sets_tried']} tries"
        yield from _section("Another decision", [f"<p>{shown(found)}</p>"])


def _origin(kept: Kept, body: Mapping[str, Any], checkpoint_size: int) -> Iterator[tuple[str, object]]:
    model = body["model"]
    yield "model", f"{model['name']} {model['revision'] or ''} {model['digest']}"
    yield "runs on", f"{model['backend']}, {model['device']}, {model['dtype']}"
    if body["verdict"] is not None:
        calibration = next(iter(body["explanation"]["maps"]))["verdict"]["calibration"]
        yield "policy", f"{body['policy']['id']} {body['policy']['digest']}"
        yield "calibration", f"{calibration['id']} {calibration['statement'] or ''}"
        yield "seed", body["explanation"]["seed"]
    yield "software", ", ".join(f"{name} {version}" for name, version in body["server"]["software"].items())
    yield "kept", "erased" if kept.wrapped_key is None else body["governance"]["mode"]
    yield "in the log", f"index {kept.leaf_index}, under the checkpoint over {checkpoint_size} entries"
    yield "SHA-256", kept.envelope_sha256


def _section(title: str, content: Iterable[str]) -> Iterator[str]:
    yield f"<h2>{shown(title)}</h2>"
    yield from content
    yield "\n"


def _facts(facts: Iterable[tuple[str, object]]) -> Iterator[str]:
    yield "<dl>"
    yield from (f"<dt>{shown(name)}</dt><dd>{shown(value)}</dd>" for name, value in facts)
    yield "</dl>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{shown(column)}</th>" for column in columns) + "</tr>"
    yield from ("<tr>" + "".join(f"<td>{shown(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    yield "</table>"


def _alignment(told: Mapping[str, Any]) -> str:
    found = told["verdict"]["alignment"]
    return "none" if found is None else f"{found['value']} \u00b1 {found['width']}"


def _top(heaviest: Sequence[Mapping[str, Any]], words: Sequence[str] | None) -> str:
    return "; ".join(f"{_unit(each['unit'], words)} {each['score']}" for each in heaviest)


def _unit(number: int, words: Sequence[str] | None) -> str:
    return f"#{number + 1}" if words is None or number >= len(words) else f"#{number + 1} {words[number]}"
