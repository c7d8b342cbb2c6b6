"""What was found of heads and the other parts, put beside what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from rollcall.studies.markdown import table
from rollcall.studies.papers.frame import Claim, Comparison, Json, Picture, Result, Section
from rollcall.studies.papers.heads.plots import draw_parts, draw_pruning
from rollcall.studies.papers.heads.taken import FEW, KEPT, Taken, taken

PUBLISHED_SHARES: Final = (0.2, 0.4)
"""Of the heads of a translation model and of BERT that go without noticeable loss (Michel et al. 2019, section 4.2)."""


def result(found: Mapping[str, Mapping[str, Json]]) -> Result:
    """The report of all models."""
    models = [taken(name, each) for name, each in found.items()]
    return Result(
        summary=_summary(models),
        comparisons=tuple(row for one in models for row in _comparisons(one)),
        claims=tuple(claim for one in models for claim in _claims(one)),
        findings={one.name: _findings(one) for one in models},
        sections=(_heads_section(models), *(_parts_section(one) for one in models), _share_section(models)),
        pictures=(
            Picture(
                name="pruning",
                caption="Share of decisions that stay as heads go: least important first, in random order, most "
                "important first",
                draw=partial(draw_pruning, models),
            ),
            Picture(
                name="parts",
                caption="Share of decisions that turn round without a part of all layers",
                draw=partial(draw_parts, models),
            ),
        ),
    )


def _findings(one: Taken) -> dict[str, Any]:
    return {
        "layers": one.layers,
        "heads_per_layer": one.heads,
        "accuracy": one.accuracy,
        "flips_by_head": [round(share, 4) for share in one.flips],
        "no_head_flips": one.none_flips.to_json(),
        "uniform_attention": {"flips": one.uniform_flips.to_json(), "tvd": one.uniform_tvd.to_json()},
        "all_heads_silenced_flips": one.all_flips.to_json(),
        "fall_of_the_margin": {
            "sum_of_singles": one.single_sum.to_json(),
            "together": one.together.to_json(),
            "beyond": one.hidden.to_json(),
        },
        "decisions_kept": {
            "least_important_first": list(one.least_first),
            "random": [round(share, 4) for share in one.random],
            "most_important_first": list(one.most_first),
            "one_head_left_by_layer": list(one.one_head),
        },
        "heads_gone_before_a_decision_changes": list(one.longest),
        "flips_without_a_part": {
            off: {name: [round(share, 4) for share in shares] for name, shares in by_part.items()}
            for off, by_part in one.parts.items()
        },
        "attention_share_of_shapley_values": one.attention_share.to_json(),
        "signed_share": round(one.signed_share, 4),
    }


def _comparisons(one: Taken) -> tuple[Comparison, ...]:
    setting = f"{one.name}, {one.layers} x {one.heads} heads, accuracy {one.accuracy:.3f}"
    differs = (
        "a small encoder trained here on one task instead of BERT-base or a translation model; decisions kept instead "
        "of accuracy or BLEU; importance is the mean change of the margin instead of a gradient"
    )
    return (
        Comparison(
            quantity="share of all heads that can go together unnoticed",
            published="20 % (translation), 40 % (BERT on MNLI)",
            ours=f"{100 * one.unnoticed / one.total:.0f} % ({one.unnoticed} of {one.total})",
            setting=setting,
            differs=differs,
        ),
        Comparison(
            quantity="heads that matter by themselves",
            published="8 of 96 (translation, p < .01)",
            ours=f"{one.total - one.dispensable} of {one.total} change more than {100 * FEW:.0f} % of the decisions",
            setting=setting,
            differs=differs,
        ),
        Comparison(
            quantity="layers that one head is enough for",
            published="most (BERT)",
            ours=f"{sum(kept >= KEPT for kept in one.one_head)} of {one.layers} keep {100 * KEPT:.0f} % of decisions",
            setting=setting,
            differs=f"{differs}; the head that is left was chosen on other texts",
        ),
        Comparison(
            quantity="single ablations understate, since heads stand in for each other",
            published="about 30 % of a head's direct effect is made up for (Rushing and Nanda 2024, abstract)",
            ours=f"falls of the margin add up to {one.single_sum}; of all heads together it is {one.together}; paired "
            f"difference {one.hidden}",
            setting=setting,
            differs="sums over all heads of a classifier instead of direct effects of single heads of language models",
        ),
    )


def _claims(one: Taken) -> tuple[Claim, ...]:
    fifth = round(PUBLISHED_SHARES[0] * one.total)
    return (
        Claim(
            claim=f"{one.name}: most heads are dispensable one by one",
            holds=one.dispensable > one.total / 2,
            seen=f"{one.dispensable} of {one.total} change at most {100 * FEW:.0f} % of the decisions",
        ),
        Claim(
            claim=f"{one.name}: some layer is as good with a single head",
            holds=max(one.one_head) >= KEPT,
            seen=", ".join(f"{kept:.2f}" for kept in one.one_head) + " of the decisions stay, by layer",
            clear=False,
        ),
        Claim(
            claim=f"{one.name}: with the least important gone first more decisions stay than in random order",
            holds=float(np.mean(one.least_first)) > float(np.mean(one.random)) > float(np.mean(one.most_first)),
            seen=f"{np.mean(one.least_first):.3f}, random {np.mean(one.random):.3f}, most important first "
            f"{np.mean(one.most_first):.3f}, mean over 0 to all heads gone",
            clear=False,
        ),
        Claim(
            claim=f"{one.name}: a fifth of the heads can go together",
            holds=one.least_first[fifth] >= KEPT,
            seen=f"{one.least_first[fifth]:.2f} of the decisions stay without {fifth} heads",
            clear=False,
        ),
    )


def _summary(models: Sequence[Taken]) -> str:
    told = [_told(one) for one in models]
    road = (
        "Whatever the classification token knows of the words came through attention: with no head left every text "
        "gets the same answer. That is a statement about the road, not about the weights on it: where every weight is "
        "made equal most decisions stay."
    )
    follows = (
        "What follows for Rollcall: the check of heads names the heads that change a decision by themselves, warns "
        "that none doing so does not mean that none matters, and decides nothing; and words are removed in random "
        "sets of many, not one by one, so that nothing depends on whether one can stand in for another."
    )
    return "\n\n".join((*told, road, follows))


def _told(one: Taken) -> str:
    return (
        f"**{one.name}.** On {100 * one.none_flips.value:.0f} % of the inputs no single one of {one.total} heads "
        f"changes the decision; with all of them silenced {100 * one.all_flips.value:.0f} % of the decisions turn "
        f"round, and the others are for the class that the model gives without having read anything. {one.unnoticed} "
        f"heads can go together unnoticed; in the median {int(np.median(one.longest))} can go before a given decision "
        f"changes. One by one the heads' falls of the margin add up to {one.single_sum}, all together they are "
        f"{one.together}. Made uniform everywhere, attention turns {100 * one.uniform_flips.value:.0f} % round. "
        "Shared out between the heads and the feed-forward part of every layer (Shapley values of the margin), "
        "attention's share "
        f"of the decision is {one.attention_share}."
    )


def _heads_section(models: Sequence[Taken]) -> Section:
    rows = [
        (
            one.name,
            str(one.none_flips),
            f"{max(one.flips):.2f}",
            str(one.single_sum),
            str(one.together),
            str(one.uniform_flips),
            str(one.uniform_tvd),
        )
        for one in models
    ]
    heads = (
        "model",
        "inputs that no single head flips",
        "flips of the most important head",
        "falls of the margin, one by one, added up",
        "all heads together",
        "flips under uniform attention",
        "TVD under it",
    )
    return Section(title="Heads", body=table(heads, rows))


def _parts_section(one: Taken) -> Section:
    rows = [
        (part, off, *(f"{share:.2f}" for share in shares))
        for part in one.parts["nothing"]
        for off in ("nothing", "mean")
        for shares in (one.parts[off][part],)
    ]
    heads = ("part", "passes on", *(f"layer {layer + 1}" for layer in range(one.layers)), "all layers")
    return Section(
        title=f"Parts: {one.name}",
        body="Share of the decisions that turn round where a part passes on nothing, or its mean over other texts. The "
        "choice matters: what was never seen in training has effects of its own.\n\n" + table(heads, rows),
    )


def _share_section(models: Sequence[Taken]) -> Section:
    rows = [(one.name, str(one.attention_share), f"{one.signed_share:.2f}") for one in models]
    return Section(
        title="Attention's share",
        body="Of the sizes of the Shapley values of heads and feed-forward parts, the heads'; and of their signed sum "
        "over all inputs, which may exceed 1 where the feed-forward parts speak against the decisions. The residual is "
        "what both write to: it is not shared out.\n\n" + table(("model", "share of sizes", "share of the sum"), rows),
    )
