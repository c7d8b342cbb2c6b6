"""From accuracies under replaced attention to the report: what each kind of question keeps without its attention."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from rollcall.studies.markdown import table
from rollcall.studies.papers.frame import Claim, Comparison, Picture, Result, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Models: TypeAlias = Mapping[str, Mapping[str, list[dict[str, Any]]]]
"""By kind of question and kind of model, a finding for each seed."""
REPLACED: Final = ("uniform", "permuted", "random")
TITLES: Final = {
    "single": "single text (opinion of phrases and sentences, SST-2)",
    "pair": "pair (do two of these texts have the same opinion?)",
    "next word": "next word of a review (IMDb, 50 commonest words)",
}
QUALITATIVE: Final = {
    "single": "small drops in recurrent models, larger in self-attention models (figures not at hand)",
    "pair": "large drops (figures not at hand)",
    "next word": "large drops in translation (figures not at hand)",
}


def accuracy(findings: list[dict[str, Any]], name: str) -> float:
    """Mean over seeds, with the attention that is named."""
    return float(np.mean([one["replaced"][name]["accuracy"] for one in findings]))


def same(findings: list[dict[str, Any]], name: str) -> float:
    """Mean share of answers that stay."""
    return float(np.mean([one["replaced"][name]["same"] for one in findings]))


def chance(findings: list[dict[str, Any]]) -> float:
    """What the commonest answer gets right."""
    return float(np.mean([one["chance"] for one in findings]))


def kept(findings: list[dict[str, Any]], name: str) -> float:
    """Share of what the model knows beyond the commonest answer that is left: 1 all, 0 none, below 0 misled."""
    floor, own = chance(findings), accuracy(findings, "own")
    return (accuracy(findings, name) - floor) / max(own - floor, 1e-9)


def report(found: Models) -> Result:
    """The whole report."""
    groups = {(kind, model): some for kind, models in found.items() for model, some in models.items()}
    return Result(
        summary=_summary(found),
        comparisons=(
            *(_comparison(kind, model, some) for (kind, model), some in groups.items()),
            _self_attention(found["single"]),
        ),
        claims=_claims(found),
        findings={f"{kind} {model}": some for (kind, model), some in groups.items()},
        sections=(
            Section(title="Replaced attention", body=_table(found)),
            Section(title="What it means for calibration", body=_calibration(found)),
        ),
        pictures=(
            Picture(
                name="kept",
                caption="Share of what a model knows beyond the commonest answer that is left under replaced attention",
                draw=partial(_draw, groups),
            ),
        ),
    )


def _comparison(kind: str, model: str, some: list[dict[str, Any]]) -> Comparison:
    ours = ", ".join(f"{name} {accuracy(some, name):.3f}" for name in ("own", *REPLACED))
    trained = {name: np.mean([one["trained"][name] for one in some]) for name in some[0]["trained"]}
    also = "".join(f"; trained {name} {value:.3f}" for name, value in trained.items())
    return Comparison(
        quantity=f"accuracy with own and replaced attention, {kind}",
        published=QUALITATIVE[kind],
        ours=f"{ours}{also}; the commonest answer {chance(some):.3f}",
        setting=f"{TITLES[kind]}, {model}, {len(some)} seeds",
        differs="Small models, trained here from nothing; pairs by opinion instead of inference and questions; the "
        "next word instead of translation.",
    )


def _self_attention(single: Mapping[str, list[dict[str, Any]]]) -> Comparison:
    """Whether self-attention suffers more on single texts, as the paper says; it need not here."""
    own, recurrent = kept(single["transformer"], "permuted"), kept(single["BiLSTM"], "permuted")
    return Comparison(
        quantity="kept of single texts under permuted attention, transformer against BiLSTM",
        published="self-attention loses more",
        ours=f"{own:.2f} against {recurrent:.2f}",
        setting=TITLES["single"],
        differs="As there."
        if own < recurrent
        else "The other way round: two layers, around whose attention residuals go; BERT is deeper and pretrained.",
    )


def _claims(found: Models) -> tuple[Claim, ...]:
    transformers = {kind: models["transformer"] for kind, models in found.items()}
    recurrent = found["single"]["BiLSTM"]
    single = transformers["single"]
    claims = [
        Claim(
            claim="control: every model knows more than the commonest answer",
            holds=all(accuracy(some, "own") > chance(some) + 0.03 for some in (*transformers.values(), recurrent)),
            seen=", ".join(
                f"{kind} {accuracy(some, 'own'):.3f}/{chance(some):.3f}" for kind, some in transformers.items()
            ),
        )
    ]
    claims += [
        Claim(
            claim=f"single texts keep more under {name} attention than {kind} questions do (transformers)",
            holds=kept(single, name) > kept(transformers[kind], name),
            seen=f"{kept(single, name):.2f} against {kept(transformers[kind], name):.2f}",
        )
        for kind in ("pair", "next word")
        for name in ("uniform", "permuted")
    ]
    claims += [
        Claim(
            claim="a BiLSTM keeps most of what it knows of single texts under uniform and permuted attention",
            holds=min(kept(recurrent, "uniform"), kept(recurrent, "permuted")) > 0.5,  # noqa: PLR2004 - most
            seen=f"{kept(recurrent, 'uniform'):.2f} and {kept(recurrent, 'permuted'):.2f}",
        ),
    ]
    return tuple(claims)


def _table(found: Models) -> str:
    rows = []
    for kind, models in found.items():
        for model, some in models.items():
            cells = [
                f"{accuracy(some, name):.3f} ({100 * kept(some, name):.0f} % kept, {100 * same(some, name):.0f} % same)"
                for name in REPLACED
            ]
            rows.append((kind, model, f"{chance(some):.3f}", f"{accuracy(some, 'own'):.3f}", *cells))
    return (
        "Accuracy on held-out questions; *kept* is the share of what the model knows beyond the commonest answer, "
        "*same* the share of its answers that stay. Attention is replaced in all layers and heads at once; "
        "permutations and random logits are means of three draws.\n\n"
        + table(("question", "model", "commonest answer", "own", *REPLACED), rows)
    )


def _calibration(found: Models) -> str:
    shares = ", ".join(
        f"{kind} {100 * same(models['transformer'], 'permuted'):.0f} %" for kind, models in found.items()
    )
    return (
        f"Permuted attention leaves this share of the transformers' answers as they are: {shares}. This is the rate "
        "at which NOT_USED is to be expected before a single map has been looked at, and it differs between tasks far "
        "more than between maps of one task. A width or a threshold that was calibrated on one task promises nothing "
        "on another: Rollcall calibrates per model *and* task (`rollcall calibrate`), tells the task in the promise, "
        "and refuses a calibration that is not the model's own."
    )


def _summary(found: Models) -> str:
    single, pair, following = (found[kind]["transformer"] for kind in ("single", "pair", "next word"))
    recurrent = found["single"]["BiLSTM"]
    return (
        "Of what a model knows beyond the commonest answer, this is left when its attention is permuted: "
        f"{100 * kept(recurrent, 'permuted'):.0f} % (BiLSTM, single texts), {100 * kept(single, 'permuted'):.0f} % "
        f"(transformer, single texts), {100 * kept(pair, 'permuted'):.0f} % (pairs of the same texts), "
        f"{100 * kept(following, 'permuted'):.0f} % (next word).\n\n"
        "Texts and labels of the single and the pair task are the same; what differs is the question. Where a bag of "
        "words gives the answer, attention is a gate that hardly matters, and nothing can be learnt about explanations "
        "from replacing it; where something must be compared or looked up, it carries the answer. The two camps had "
        "looked at different tasks. The figures of the paper were not at hand, so that signs and orderings alone are "
        "compared."
    )


def _draw(groups: Mapping[tuple[str, str], list[dict[str, Any]]], figure: Figure) -> None:
    axes = figure.subplots()
    width = 0.8 / len(REPLACED)
    for shift, name in enumerate(REPLACED):
        axes.bar(
            [at + width * (shift - 1) for at in range(len(groups))],
            [kept(some, name) for some in groups.values()],
            width=width,
            label=name,
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(groups)), [f"{kind}\n{model}" for kind, model in groups])
    axes.set(ylabel="kept of what is known")
    axes.legend()
