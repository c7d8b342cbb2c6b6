"""A study's report for people, in Markdown, and for programs, as JSON."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rollcall.studies.markdown import table
from rollcall.studies.papers.frame import Claim, Result, Study

PACKAGES = ("rollcall", "torch", "transformers", "tokenizers", "numpy", "scipy")
"""Those whose versions may move a number."""


def versions() -> dict[str, str]:
    """Of Python and of the packages that compute."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}


def record(
    study: Study, result: Result, *, quick: bool, seeds: Sequence[int], tasks: Sequence[str], data: Mapping[str, str]
) -> dict[str, Any]:
    """Everything that was found, and what it was found with."""
    return {
        "study": study.name,
        "paper": study.paper,
        "question": study.question,
        "generation": study.generation,
        "quick": quick,
        "seeds": list(seeds),
        "tasks": list(tasks),
        "versions": versions(),
        "data": dict(data),
        "comparisons": [asdict(one) for one in result.comparisons],
        "claims": [_claim(one, quick=quick) for one in result.claims],
        "findings": dict(result.findings),
    }


def page(study: Study, result: Result, found: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """The report; `found` is its `record`, `pictures` are the files that were drawn."""
    form = "--quick " if found["quick"] else ""
    form += f"--tasks {','.join(found['tasks'])} " if found["tasks"] else ""
    drawn = [f"![{one.caption}]({one.name}.svg)" for one in result.pictures if f"{one.name}.svg" in pictures]
    parts = [
        f"# {study.title}",
        f"{study.paper}.\n\nThe question: {study.question}",
        result.summary,
        "## Published and found here",
        table(
            ("what", "published", "ours", "data and model", "what differs"),
            [
                tuple(map(_cell, (one.quantity, one.published, one.ours, one.setting, one.differs)))
                for one in result.comparisons
            ],
        ),
        "## What the paper claims, and whether it holds here",
        _claims(result.claims, quick=found["quick"]),
        *drawn,
        *(f"## {section.title}\n\n{section.body}" for section in result.sections),
        "## Again",
        f"`rollcall study {study.name} {form}--seeds {len(found['seeds'])} --data DIRECTORY` writes this report.",
        f"Seeds {', '.join(map(str, found['seeds']))}. Versions: {_listed(found['versions'])}.",
        f"Data: {_listed({name: digest.removeprefix('sha256:')[:12] for name, digest in found['data'].items()})}.",
    ]
    return "\n\n".join(parts) + "\n"


def _claim(one: Claim, *, quick: bool) -> dict[str, Any]:
    """As JSON; whether it is clear in the reduced form is said there alone."""
    found = asdict(one)
    return found if quick else {name: value for name, value in found.items() if name != "clear"}


def _claims(claims: Sequence[Claim], *, quick: bool) -> str:
    heads = ("claim", "holds", "seen", "asserted") if quick else ("claim", "holds", "seen")
    rows = [
        (
            _cell(one.claim),
            "yes" if one.holds else "**no**",
            _cell(one.seen),
            *(("yes" if one.clear else "told alone",) if quick else ()),
        )
        for one in claims
    ]
    return table(heads, rows)


def _cell(text: str) -> str:
    """Text that does not end a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _listed(named: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in named.items())
