"""Claims that fail where what they rest on is broken: a check that cannot fail says nothing.

Each study is given a model, or findings, of which its claim is known to be false.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import MapKind
from rollcall.studies.laboratory import Laboratory
from rollcall.studies.papers.abnar_zuidema.published import MAPS, REFERENCES, SCOPES
from rollcall.studies.papers.abnar_zuidema.report import result as abnar_zuidema
from rollcall.studies.papers.frame import Claim, Json
from rollcall.studies.papers.heads.report import result as heads
from rollcall.studies.papers.jain_wallace.cases import Found as JainWallace
from rollcall.studies.papers.jain_wallace.measure import Effort
from rollcall.studies.papers.jain_wallace.measure import measure as jain_wallace
from rollcall.studies.papers.jain_wallace.report import report as report_jain_wallace
from rollcall.studies.papers.recurrent.backend import RecurrentBackend
from rollcall.studies.papers.serrano_smith.measure import measure as serrano_smith
from rollcall.studies.papers.serrano_smith.report import Found as SerranoSmith
from rollcall.studies.papers.serrano_smith.report import report as report_serrano_smith
from rollcall.verdict.policies import STANDARD
from tests.unit.studies.papers.recurrent.small import loaded, written

TEXTS = [TextInput(text=" ".join(words)) for words in permutations(("good", "film", "plot", "very"))]


def failing(claims: Sequence[Claim]) -> set[str]:
    """The claims that do not hold, without the model's name."""
    return {claim.claim.split(": ")[-1] for claim in claims if not claim.holds}


def laboratory(backend: RecurrentBackend) -> Laboratory:
    """Of raw attention alone."""
    return Laboratory(model=loaded(backend), policy=STANDARD, kinds=(MapKind.RAW_ATTENTION,))


def erased(backend: RecurrentBackend) -> set[str]:
    """Claims of Serrano and Smith that a model fails on."""
    cases = [serrano_smith(laboratory(backend), text) for text in TEXTS]
    numbered = [case | {"input": number} for number, case in enumerate(cases) if case is not None]
    found = SerranoSmith(task="sst2", kind="BiLSTM", accuracy=1.0, cases=numbered)
    return failing(report_serrano_smith([found]).claims)


def test_attention_that_looks_away_from_what_decides_ranks_worse_than_chance() -> None:
    """One word decides and has next to no weight: the top unit is nothing, and the order of attention the slowest."""
    assert erased(written({"good": (0.9, -2.0)}, bias=-0.2)) == {
        "the top unit moves the answer more than a random one",
        "the order of attention is faster than random",
    }


def test_attention_to_one_word_alone_breaks_the_decision_with_it() -> None:
    """Of a model that looks at the word that decides and at no other, the top unit is all that there is."""
    assert erased(written({"good": (0.9, 5.0)}, bias=-0.2)) == {
        "erasing the top unit usually does not change the decision"
    }


def jain_wallaces(backend: RecurrentBackend) -> list[dict[str, Any]]:
    """Cases of a model."""
    cases = [jain_wallace(laboratory(backend), text, Effort(steps=40, step_size=0.4)) for text in TEXTS[:6]]
    return [case | {"input": number} for number, case in enumerate(cases) if case is not None]


def test_where_the_answer_is_the_attention_no_other_attention_gives_it() -> None:
    """Nothing but the one extreme word says so much: whatever is taken from it moves the answer."""
    cases = jain_wallaces(written({"good": (0.9, 5.0), "film": (0.1, 0.0), "plot": (-0.1, -1.0), "very": (0.0, -2.0)}))
    found = JainWallace(task="sst2", kind="BiLSTM", seed=0, accuracy=1.0, cases=cases)
    failed = failing(report_jain_wallace([found]).claims)
    assert any("very different attention" in claim for claim in failed)


def test_where_attention_is_what_deletion_says_it_does_not_agree_less() -> None:
    """Attention and gradient change places: what is left of the claim is its opposite."""
    cases = jain_wallaces(written({"good": (0.9, 1.0), "film": (-0.3, 0.0), "plot": (0.2, -1.0), "very": (0.1, 0.5)}))
    for case in cases:
        case["taus"] |= {"leave_one_out": (1.0, 0.0), "gradient_and_leave_one_out": (0.4, 0.1)}
    found = JainWallace(task="sst2", kind="BiLSTM", seed=0, accuracy=1.0, cases=cases)
    assert "attention agrees with leave-one-out less than the gradient does" in failing(
        report_jain_wallace([found]).claims
    )
    for case in cases:
        case["taus"] |= {"shuffled_attention": (0.5 + 0.001 * case["input"], 0.0)}
    assert "shuffled attention agrees with nothing" in failing(report_jain_wallace([found]).claims)


def sentence(raw: float, rollout: float, flow: float, *, mixes: bool, gap: float = 0.0) -> Json:
    """A sentence of a model of three layers whose maps agree with every reference by so much at the top."""
    falling = [0.3, 0.1, 0.01] if mixes else [0.3, 0.3, 0.3]
    ends = {"raw": (0.6, 0.1, raw), "rollout": (0.4, 0.5, rollout), "flow": (0.4, 0.5, flow)}
    maps = {name: {reference: [*ends[name]] for reference in REFERENCES} for name in MAPS}
    maps |= {name: {reference: [0.2] for reference in REFERENCES} for name in ("nearness", "untrained")}
    return {
        "agreement": dict.fromkeys(SCOPES, maps),
        "references": {"blank-out and hidden": 0.8},
        "from_uniform": dict.fromkeys(MAPS, falling),
        "apart": falling,
        "own": falling,
        "first_layer_gap": gap,
    }


def of_depth(one: Json) -> set[str]:
    """Claims of Abnar and Zuidema that ten such sentences fail."""
    found = {0: {"accuracy": 0.9, "sentences": [one] * 10, "short": 0}}
    return failing(abnar_zuidema(found).claims)


def test_a_model_whose_raw_attention_is_right_and_that_does_not_mix_fails_abnar_and_zuidema() -> None:
    """All hold on findings like theirs; each is broken by what it is about."""
    assert of_depth(sentence(0.3, 0.7, 0.7, mixes=True)) == set()
    assert of_depth(sentence(0.9, 0.3, 0.3, mixes=True)) == {
        "At the top, rollout agrees better with blank-out than raw attention does",
        "At the top, flow agrees better with blank-out than raw attention does",
        "Rollout agrees better with blank-out at the top than at the bottom",
    }
    assert of_depth(sentence(0.3, 0.7, 0.7, mixes=False)) == {
        "the positions' rollouts come closer to each other with every layer",
        "Rollout drifts towards uniform with depth",
    }
    assert of_depth(sentence(0.3, 0.7, 0.7, mixes=True, gap=0.01)) == {
        "At the first layer flow is rollout (by definition)"
    }


def taken_apart(*, flipping: Sequence[int], kept: Sequence[float], alone: float) -> Json:
    """A model of two layers with two heads: heads that flip every decision, and decisions kept as heads go."""
    one = {
        "margin": 1.0,
        "changes": [-0.1] * 4,
        "flips": list(flipping),
        "witness": bool(flipping),
        "all_heads": {"flip": True, "margin": -0.2, "tvd": 0.5},
        "uniform": {"flip": False, "margin": 0.6, "tvd": 0.1},
    }
    parts = {"nothing": [0.5] * 12, "mean": [0.5] * 12, "shapley": {"nobody": 0.0, "values": [0.3, 0.3, 0.2, 0.2]}}
    names = ["heads", "feed-forward", "residual around heads", "residual around feed-forward"]
    return {
        "singles": {"layers": 2, "heads": 2, "accuracy": 0.9, "inputs": [one] * 10},
        "pruning": {
            "least_first": {"kept": list(kept)},
            "random": [{"kept": [1.0, 0.9, 0.8, 0.7, 0.5]}],
            "most_first": {"kept": [1.0, 0.7, 0.6, 0.6, 0.5]},
            "one_head": {"kept": [alone, alone]},
            "longest": [2] * 10,
        },
        "parts": {"layers": 2, "names": names, "inputs": [{"margin": 1.0, **parts}] * 10},
    }


def test_a_model_that_needs_all_of_its_heads_fails_michels_claims() -> None:
    """All hold where heads are redundant; none where each of them decides and any order is as bad."""
    spare = taken_apart(flipping=[0], kept=[1.0, 1.0, 0.98, 0.9, 0.5], alone=0.97)
    assert failing(heads({"spare": spare}).claims) == set()
    needed = taken_apart(flipping=[0, 1, 2, 3], kept=[1.0, 0.6, 0.6, 0.5, 0.5], alone=0.6)
    assert failing(heads({"needed": needed}).claims) == {
        "most heads are dispensable one by one",
        "some layer is as good with a single head",
        "with the least important gone first more decisions stay than in random order",
        "a fifth of the heads can go together",
    }
