"""What was found of rollout and flow, put beside what was published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final, TypeAlias

from rollcall.studies.markdown import table
from rollcall.studies.papers.abnar_zuidema.plots import draw_agreement, draw_mixing
from rollcall.studies.papers.abnar_zuidema.published import MAPS, PUBLISHED, REFERENCES, SCOPES, Means
from rollcall.studies.papers.frame import Claim, Comparison, Json, Picture, Result, Section
from rollcall.studies.papers.intervals import Mean, mean_of

TOLERANCE: Final = 0.15
"""Within it a figure is called reproduced: data, seed and code are others."""
EQUAL: Final = 1e-6
"""Capacities of flow are whole multiples of 1e-9."""
SETTING: Final = "agreement, BERT of {layers} layers trained here"
DIFFERS: Final = (
    "6,000 sentences to learn from instead of over a million; word pieces instead of words; layer norm behind each "
    "part instead of before it"
)


def result(found: Mapping[int, Json]) -> Result:
    """The report of all seeds; a sentence under several seeds is one observation."""
    rows = [(number, row) for seed in found.values() for number, row in enumerate(seed["sentences"])]
    sentences, owners = [row for _, row in rows], [number for number, _ in rows]
    layers = len(sentences[0]["apart"])
    means = {
        (scope, reference, name): [
            mean_of([row["agreement"][scope][name][reference][layer] for row in sentences], owners)
            for layer in range(layers if name in MAPS else 1)
        ]
        for scope in SCOPES
        for reference in REFERENCES
        for name in (*MAPS, "nearness", "untrained")
    }
    drift = {name: _means([row["from_uniform"][name] for row in sentences], owners) for name in MAPS}
    drift |= {name: _means([row[name] for row in sentences], owners) for name in ("apart", "own")}
    between = {
        name: mean_of([row["references"][name] for row in sentences], owners) for name in sentences[0]["references"]
    }
    accuracies = [seed["accuracy"] for seed in found.values()]
    gap = max(row["first_layer_gap"] for row in sentences)
    setting = SETTING.format(layers=layers)
    return Result(
        summary=_summary(means, drift, between, layers),
        comparisons=_comparisons(means, accuracies, setting),
        claims=_claims(means, partial(_lead, sentences, owners), drift, gap),
        findings={
            "accuracy": accuracies,
            "sentences": len(sentences),
            "too_short": sum(seed["short"] for seed in found.values()),
            "spearman": {" / ".join(key): [one.to_json() for one in series] for key, series in means.items()},
            "by_seed": _by_seed(found, layers),
            "nats_from_uniform_and_mixing": {name: [m.to_json() for m in series] for name, series in drift.items()},
            "between_references": {name: mean.to_json() for name, mean in between.items()},
            "largest_gap_of_flow_and_rollout_at_the_first_layer": gap,
        },
        sections=(
            _by_layer_section(means, layers),
            _controls_section(means, between),
            _mixing_section(drift, layers),
        ),
        pictures=(
            Picture(
                name="spearman-by-layer",
                caption="Spearman correlation of each map with blank-out, by layer: ours with 95 % intervals, "
                "published figures dashed",
                draw=partial(draw_agreement, means, layers),
            ),
            Picture(
                name="mixing-by-layer",
                caption="How far the maps are from uniform, and the positions' rollouts from each other, by layer",
                draw=partial(draw_mixing, drift, layers),
            ),
        ),
    )


def _means(series: Sequence[Sequence[float]], owners: Sequence[int]) -> list[Mean]:
    return [mean_of(list(layer), owners) for layer in zip(*series, strict=True)]


def _by_seed(found: Mapping[int, Json], layers: int) -> dict[str, Any]:
    """Of every seed by itself, the means by layer against blank-out."""

    def mean(seed: Json, name: str, layer: int) -> float:
        values = [row["agreement"]["tokens"][name]["blank-out"][layer] for row in seed["sentences"]]
        return round(mean_of(values).value, 4)

    return {
        str(number): {name: [mean(seed, name, layer) for layer in range(layers)] for name in MAPS}
        for number, seed in found.items()
    }


def _comparisons(means: Means, accuracies: Sequence[float], setting: str) -> tuple[Comparison, ...]:
    rows = [
        Comparison(
            quantity="accuracy of the model",
            published="0.96",
            ours=", ".join(f"{one:.3f}" for one in accuracies),
            setting=setting,
            differs="a share of a percent of the sentences to learn from; held-out sentences chosen to have attractors",
        )
    ]
    for (reference, name), published in PUBLISHED.items():
        found = means["tokens", reference, name]
        if len(found) != len(published):
            continue
        for layer in (0, 2, len(published) - 1):
            off = abs(found[layer].value - published[layer])
            apart = "within .15" if off <= TOLERANCE else f"**{off:.2f} apart**"
            rows.append(
                Comparison(
                    quantity=f"Spearman of {name}, layer {layer + 1}, with {reference}",
                    published=f"{published[layer]:.2f}",
                    ours=str(found[layer]),
                    setting=setting,
                    differs=f"{apart}; {DIFFERS}" + (f"; {GRADIENT}" if reference == "gradient" else ""),
                )
            )
    return tuple(rows)


GRADIENT: Final = (
    "gradient times input instead of the gradient summed over the embedding, which is 0 by construction before a layer "
    "norm"
)


Place: TypeAlias = tuple[str, int]
"""A map and a layer."""


def _lead(sentences: Sequence[Json], owners: Sequence[int], place: Place, other: Place) -> Mean:
    """How much better one map agrees with blank-out, over tokens, than another, on the same sentences."""
    leads = []
    for row in sentences:
        one, two = (row["agreement"]["tokens"][name]["blank-out"][layer] for name, layer in (place, other))
        leads.append(None if one is None or two is None else one - two)
    return mean_of(leads, owners)


def _claims(
    means: Means, lead: Callable[[Place, Place], Mean], drift: Mapping[str, Sequence[Mean]], gap: float
) -> tuple[Claim, ...]:
    raw, rollout, flow = (means["tokens", "blank-out", name] for name in MAPS)
    worst = min(range(1, len(raw)), key=lambda layer: raw[layer].value)
    by_rollout, by_flow = lead(("rollout", -1), ("raw", -1)), lead(("flow", -1), ("raw", -1))
    by_depth, by_first = lead(("rollout", -1), ("rollout", 0)), lead(("raw", 0), ("raw", worst))
    return (
        Claim(
            claim="At the first layer flow is rollout (by definition)",
            holds=gap <= EQUAL,
            seen=f"largest difference {gap:.1e}",
        ),
        Claim(
            claim="At the top, rollout agrees better with blank-out than raw attention does",
            holds=by_rollout.value > 0,
            seen=f"{rollout[-1]} against {raw[-1]}, paired {by_rollout}",
        ),
        Claim(
            claim="At the top, flow agrees better with blank-out than raw attention does",
            holds=by_flow.value > 0,
            seen=f"{flow[-1]} against {raw[-1]}, paired {by_flow}",
            clear=False,
        ),
        Claim(
            claim="Rollout agrees better with blank-out at the top than at the bottom",
            holds=by_depth.value > 0,
            seen=f"{rollout[0]} at layer 1, {rollout[-1]} at layer {len(rollout)}, paired {by_depth}",
            clear=False,
        ),
        Claim(
            claim="Raw attention of some upper layer agrees worse than that of the first",
            holds=by_first.value > 0,
            seen=f"{raw[0]} at layer 1, least {raw[worst].value:.2f}, paired {by_first}",
        ),
        Claim(
            claim="Layers mix: the positions' rollouts come closer to each other with every layer",
            holds=_falls(drift["apart"]),
            seen=_series(drift["apart"]),
        ),
        Claim(
            claim="Rollout drifts towards uniform with depth",
            holds=drift["rollout"][-1].value < drift["rollout"][0].value,
            seen=f"{_series(drift['rollout'])} nats from uniform",
        ),
    )


def _falls(series: Sequence[Mean]) -> bool:
    return all(later.value < earlier.value for earlier, later in pairwise(series))


def _series(series: Sequence[Mean]) -> str:
    return ", ".join(f"{one.value:.3f}" for one in series)


def _summary(
    means: Means,
    drift: Mapping[str, Sequence[Mean]],
    between: Mapping[str, Mean],
    layers: int,
) -> str:
    raw, rollout, flow = (means["tokens", "blank-out", name] for name in MAPS)
    near, before = (means["tokens", "blank-out", name][0] for name in ("nearness", "untrained"))
    return (
        f"After {layers} layers the positions' rollouts are {drift['apart'][-1].value:.3f} nats apart, where they are "
        f"{drift['apart'][0].value:.3f} apart after the first: what an upper layer attends to is a mixture of words. "
        f"Against what blanking each word out does, raw attention of the top layer reaches {raw[-1]}, rollout "
        f"{rollout[-1]}, flow {flow[-1]} (Spearman). {_reproduced(means)}\n\n"
        f"Two controls that the paper does not have say how to read that. Weights that only grow towards the verb "
        f"reach {near}, and rollout of the same network before its training reaches {before}. And blanking out "
        f"agrees with hiding the same words from attention by no more than {between['blank-out and hidden']}: a map "
        "cannot be asked to agree with one reference better than the references do with each other.\n\n"
        "What follows for Rollcall: rollout is returned with every answer beside raw attention, flow where it is asked "
        "for; neither is believed for being a rollout. Each is held against the effects of removals on this very "
        "input, under two operators, and gets its own flag."
    )


def _reproduced(means: Means) -> str:
    """How many of all published figures ours come near."""
    gaps = [
        abs(ours.value - theirs)
        for (reference, name), published in PUBLISHED.items()
        if len(published) == len(means["tokens", reference, name])
        for ours, theirs in zip(means["tokens", reference, name], published, strict=True)
    ]
    if not gaps:
        return "With so few layers none of the published figures has a counterpart."
    return f"Of {len(gaps)} published figures ours are within {TOLERANCE} of {sum(gap <= TOLERANCE for gap in gaps)}."


def _by_layer_section(means: Means, layers: int) -> Section:
    rows = []
    for scope, reference, name in means:
        if name not in MAPS:
            continue
        published = PUBLISHED.get((reference, name), ())
        if scope == "tokens" and len(published) == layers:
            rows.append((scope, reference, name, "published", *(f"{one:.2f}" for one in published)))
        ours = means[scope, reference, name]
        rows.append((scope, reference, name, "ours", *(f"{one.value:.2f} ± {one.deviation:.2f}" for one in ours)))
    heads = ("over", "reference", "map", "", *(f"layer {layer + 1}" for layer in range(layers)))
    return Section(
        title="By layer",
        body="Mean Spearman correlation over sentences, and standard deviation between them. `hidden`: keys are hidden "
        "from attention instead of the word being replaced. `tokens`: the special tokens are among what is ranked, "
        "`words`: they are not, as in the maps that are served. Over words, rollout and flow of one layer are raw "
        "attention: what the residual adds stands on the read-out token. The published figures of layer 1 differ, so "
        "theirs are over tokens.\n\n" + table(heads, rows),
    )


def _controls_section(means: Means, between: Mapping[str, Mean]) -> Section:
    rows = [
        (name, scope, *(str(means[scope, reference, key][-1]) for reference in REFERENCES))
        for name, key in (
            ("rollout, top layer", "rollout"),
            ("flow, top layer", "flow"),
            ("raw attention, top layer", "raw"),
            ("rollout before training", "untrained"),
            ("nearness to the verb", "nearness"),
        )
        for scope in SCOPES
    ]
    told = "; ".join(f"{name}: {mean}" for name, mean in between.items())
    return Section(
        title="Controls",
        body=table(("map", "over", "blank-out", "hidden", "gradient times input"), rows)
        + f"\n\nThe references among themselves, over words: {told}.",
    )


def _mixing_section(drift: Mapping[str, Sequence[Mean]], layers: int) -> Section:
    told = {
        "apart": "positions' rollouts from each other (nats)",
        "own": "share of a position's rollout on its own token",
        "raw": "raw attention from uniform (nats)",
        "rollout": "rollout from uniform (nats)",
        "flow": "flow from uniform (nats)",
    }
    rows = [(words, *(f"{one.value:.3f}" for one in drift[name])) for name, words in told.items()]
    return Section(title="Mixing", body=table(("", *(f"layer {layer + 1}" for layer in range(layers))), rows))
