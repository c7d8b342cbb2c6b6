"""The report on one page of Markdown: the worst family first, then everything that a reader needs to doubt it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollcall.studies.flag.telling import FLAGS, effects_section, flags, interval, percent, share, sides_section, wrong
from rollcall.studies.markdown import table

HOW = """\
Every flag is compared with A*, from 512 to 4,096 further removals or all subsets. A flag is wrong where it is FAITHFUL
and A* < .5 or the truly largest effect is omitted, or UNFAITHFUL and A* >= .5. Ranges are exact 95 % intervals."""
BY_FAMILY = """\
Decided: of maps that are not flat. AUROC: of A after all removals, right maps above wrong ones, with a bootstrap over
models."""
CALIBRATED = """\
Each family's models together, five folds, 90 % confidence, the four usual maps (without attention: leave_one_out and
effect). Promised: of folds and maps, those in which some width kept the promise; the others have default widths. Wrong:
of all maps. A family marked `p5` was judged with the gradient as a prior in all five folds: on the other inputs that
brought A nearer to A*."""
PRIOR = """\
The same where the gradient half-way to the masked input never helps to estimate the effects, and where it always does.
Without it a map is judged by the removals alone."""
SIZES = """\
How many inputs a calibration takes: widths fitted on so many random inputs of a family, its models together, and
checked on all its others, fifty draws, over"""
TAMPERED = """\
Made of the gradient rollout (without attention: of leave_one_out), by numbers alone. By luck one may agree with the
effects; A* says whether it does."""
RULES = """\
The older rule decides by significance: FAITHFUL for p_up <= .05 and A >= .3 without a counterexample, UNFAITHFUL for
p_low <= .025 or a counterexample."""
CHECKS = "What each check says by itself, of maps that are right and of maps that are not:"


def page(report: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Markdown of a report; `plots` are file names beside it."""
    families, lengths = sorted(report["families"].items()), sorted(report["lengths"].items(), key=_first)
    maps = [(name, *one) for name, family in families for one in family["maps_of"].items()]
    models = len({(one["name"], one["seed"]) for one in report["models"]})
    heads = ("truly right", "FAITHFUL", "UNFAITHFUL", "decided", "wrong of its flags", "AUROC", "removals")
    parts = [
        "# How often is the flag wrong? Models whose truth is known",
        f"{report['inputs']} inputs of {models} models, policy {report['policy']['id']}. {HOW}",
        _worst(report),
        "## What was aimed at",
        table(("", "aim", "came out", ""), [_target(one) for one in report["targets"]]),
        "## By family, default widths (no calibration)",
        BY_FAMILY,
        table(("family", "maps", *heads), [_family(*one) for one in families]),
        "### By map",
        table(("family", "map", "truly right", *FLAGS, "reasons otherwise"), [_map(*one) for one in maps]),
        "## Calibrated, checked on inputs that did not calibrate",
        CALIBRATED,
        *(_calibrated(alpha, one) for alpha, one in report["calibrated"].items()),
        "### What the gradient saves",
        PRIOR,
        *(_saved(alpha, one) for alpha, one in report["prior"].items() if one),
        *_sizes(report["sizes"]),
        *effects_section(report["effects"]),
        *sides_section(report["sides"]),
        "## Maps that somebody tampered with",
        TAMPERED,
        table(("map", "truly right", *FLAGS), [_tampered(*one) for one in report["tampered"].items()]),
        "## Where nothing can be said",
        _undecidable(report),
        "## By length",
        table(("tokens", "maps", "truly right", *FLAGS, "decided"), [_length(*one) for one in lengths]),
        "## Why the verdict is built as it is",
        RULES,
        table(
            ("rule", "decided", "wrong of all", "wrong of FAITHFUL", "wrong of UNFAITHFUL"),
            [_rule(*one) for one in report["rules"].items()],
        ),
        CHECKS,
        table(
            ("check", "supports right", "supports wrong", "contradicts right", "contradicts wrong"),
            [_check(*one) for one in report["checks"].items()],
        ),
        *(f"![{name.rsplit('.', 1)[0].replace('-', ' ')}]({name})" for name in plots),
        "## The models",
        table(
            ("family", "seed", "layers", "accuracy", "with reach", "what is known by construction"),
            [_model(one) for one in report["models"]],
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _model(one: Mapping[str, Any]) -> tuple[str, ...]:
    reach = f"{one['with_reach']} of {one['inputs']}"
    return one["name"], str(one["seed"]), str(one["layers"]), f"{one['accuracy']:.3f}", reach, one["truth"]


def _worst(report: Mapping[str, Any]) -> str:
    worst = report["worst_family"]
    if worst is None:
        return ""
    every = report["all"]["wrong_of_flags"]
    return (
        f"**Worst family, uncalibrated: {worst['family']}, {share(worst['wrong_of_flags'])} of its flags wrong.** "
        f"All families: {share(every)}."
    )


def _target(one: Mapping[str, Any]) -> tuple[str, ...]:
    value = "-" if one["value"] is None else f"{one['value']:.3f}".removesuffix(".000")
    verdict = {True: "met", False: "**missed**", None: "not measured"}[one["met"]]
    return one["what"], one["goal"], value, verdict


def _family(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        str(one["maps"]),
        percent(one["truly_right"]["share"]),
        percent(one["faithful"]["share"]),
        percent(one["unfaithful"]["share"]),
        percent(one["decided"]["share"]),
        share(one["wrong_of_flags"]),
        _auroc(one["auroc"]),
        f"{one['removals']:.0f}",
    )


def _auroc(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "-"
    ends = one.get("interval_95")
    return f"{one['value']:.3f}" + (f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else "")


def _map(family: str, kind: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    reasons = ", ".join(f"{name} {count}" for name, count in one["reasons"].items())
    return (
        family,
        kind,
        percent(one["truly_right"]["share"]),
        *flags(one),
        reasons or "-",
    )


def _calibrated(alpha: str, one: Mapping[str, Any]) -> str:
    if not one["families"]:
        return ""
    every, families = one["all"], one["families"]
    rows = [
        (
            name + (f" p{found['prior_folds']}" if found["prior_folds"] else ""),
            str(found["inputs"]),
            percent(found["promised"]),
            percent(found["decided"]),
            f"{percent(found['wrong'])} ({interval(found['wrong_interval_95'])})",
            percent(found["wrong_unfaithful"]),
            f"{percent(found['recommended_wrong'])} of {percent(found['recommended'])}",
            f"{found['removals']:.0f}",
        )
        for name, found in sorted(families.items())
    ]
    total = f"In none of {len(families)} families were there inputs enough for this promise: default widths."
    if every:
        shares = f"{percent(every['decided'])} decided, {percent(every['wrong'])} wrong"
        where = f"over the {one['promising']} of {len(families)} families in which every fold could promise it"
        total = f"{shares}, {every['removals']:.1f} removals a map, {where}."
    heads = ("family", "inputs", "promised", "decided", "wrong", "wrong of UNFAITHFUL", "recommended wrong", "removals")
    return f"### At most {float(alpha):.0%} wrong\n\n{total}\n\n{table(heads, rows)}\n\n{_calibrated_maps(families)}"


def _calibrated_maps(families: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            kind,
            percent(one["right"] / found["inputs"]),
            percent(one["faithful"] / found["inputs"]),
            percent(one["unfaithful"] / found["inputs"]),
            percent(one["wrong"] / found["inputs"]),
            f"{one['right faithful']} of {one['right']}",
        )
        for name, found in sorted(families.items())
        for kind, one in found["maps_of"].items()
    ]
    heads = ("family", "map", "truly right", "FAITHFUL", "UNFAITHFUL", "wrong", "FAITHFUL of right")
    return table(heads, rows)


def _saved(alpha: str, families: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            *(f"{one[which]['removals']:.0f}" for which in ("without", "with")),
            *(percent(one[which]["decided"]) for which in ("without", "with")),
            *(percent(one[which]["wrong"]) for which in ("without", "with")),
        )
        for name, one in sorted(families.items())
    ]
    heads = ("removals without", "with", "decided without", "with", "wrong without", "with")
    return f"At most {float(alpha):.0%} wrong:\n\n{table(('family', *heads), rows)}"


def _sizes(curves: Mapping[str, Any]) -> list[str]:
    curves = {alpha: one for alpha, one in curves.items() if one}
    if not curves:
        return []
    rows = [
        (
            f"{float(alpha):.0%}",
            size,
            percent(point["promised"]),
            percent(point["decided"]),
            percent(point["wrong"]),
            f"{point['removals']:.0f}",
        )
        for alpha, one in curves.items()
        for size, point in one["points"].items()
    ]
    families = ", ".join(next(iter(curves.values()))["families"])
    heads = ("at most wrong", "calibration inputs", "promised", "decided", "wrong", "removals")
    return ["### What more inputs bring", f"{SIZES} {families}.", table(heads, rows)]


def _tampered(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        percent(one["truly_right"]["share"]),
        share(one["faithful"]),
        wrong(one["wrong_faithful"]),
        percent(one["unfaithful"]["share"]),
        wrong(one["wrong_unfaithful"]),
    )


def _undecidable(report: Mapping[str, Any]) -> str:
    rows = [
        (name, str(one["maps"]), str(one["not_inconclusive"]), ", ".join(f"{r} {n}" for r, n in one["reasons"].items()))
        for name, one in report["undecidable"].items()
    ]
    none = report["no_reach"]
    rows.append(("decision without reach", str(none["maps"]), str(none["flagged"]), "no_effect"))
    return table(("case", "maps", "with a flag all the same", "reasons"), rows)


def _length(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        str(one["maps"]),
        percent(one["truly_right"]["share"]),
        *flags(one),
        percent(one["decided"]["share"]),
    )


def _rule(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        percent(one["decided"]["share"]),
        percent(one["wrong"]["share"]),
        wrong(one["wrong_faithful"]),
        wrong(one["wrong_unfaithful"]),
    )


def _check(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    order = ("supports_of_right", "supports_of_wrong", "contradicts_of_right", "contradicts_of_wrong")
    return (name, *(percent(one[key]["share"]) if one[key]["total"] else "-" for key in order))


def _first(item: tuple[str, Any]) -> int:
    name = item[0].split("-", maxsplit=1)[0]
    return int(name) if name.isdigit() else 10**6
