"""Parts of a record as they may be shown to whoever need not know who the person is. Pure.

Texts are masked, and what tells a text otherwise is not shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from rollcall.audit.parts import ATTENTION, INPUT, REQUEST, SCORES
from rollcall.audit.redacting import Recognisers, Span, mask
from rollcall.domain.errors import Blocked

MASKABLE = frozenset({INPUT, REQUEST, SCORES, ATTENTION})
"""Parts that can be shown masked: token ids and the salt tell the text, and names are what is to be hidden."""
_TEXTS = {INPUT: ("text", "text_pair"), REQUEST: ("request_id", "reported_label")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """A piece that was hidden: in which field of which part."""

    part: str
    name: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """Parts whose texts are masked, and what was hidden. Texts keep their length, so that units keep their offsets."""

    parts: dict[str, bytes] = field(repr=False)
    redactions: tuple[Redaction, ...]


def masked(parts: Mapping[str, bytes], recognisers: Recognisers) -> Masked:
    """Mask parts; raises Blocked for one that cannot be."""
    beyond = sorted(parts.keys() - MASKABLE)
    if beyond:
        raise Blocked("masked", f"{', '.join(beyond)} cannot be masked; {', '.join(sorted(MASKABLE))} can")
    shown, found = dict(parts), list[Redaction]()
    for part in parts.keys() & _TEXTS.keys():
        told = json.loads(parts[part].decode(errors="surrogatepass"))
        if "input_ids" in told:
            message = "the input is token ids, which cannot be masked"
            raise Blocked("masked", message)
        for name in _TEXTS[part]:
            text = told.get(name) or ""
            spans = recognisers.spans(text)
            found += [Redaction(part=part, name=name, span=span) for span in spans]
            told[name] = mask(text, spans) if text else told.get(name)
        shown[part] = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    return Masked(
        parts=shown, redactions=tuple(sorted(found, key=lambda each: (each.part, each.name, each.span.start)))
    )


def words(parts: Mapping[str, bytes]) -> list[str]:
    """Units of the input of an explanation, in their order, as its parts `input` and `scores` have them."""
    told = json.loads(parts[INPUT].decode(errors="surrogatepass"))
    texts = (told["text"], told["text_pair"] or "")
    units = json.loads(parts[SCORES]).get("units", [])
    return [texts[segment][start:end] for _, _, start, end, segment in units]
