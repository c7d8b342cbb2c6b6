"""Reports from findings: claims fail where they should, and the adversary is compared with the right one."""

from __future__ import annotations

from typing import Any

from rollcall.studies.papers.vashishth.report import report as vashishth
from rollcall.studies.papers.wiegreffe_pinter.numbers import quietest
from rollcall.studies.papers.wiegreffe_pinter.report import report as wiegreffe_pinter


def _apart(jsd: float, tvd: float) -> dict[str, float]:
    return {"jsd": jsd, "jsd_median": jsd, "tvd": tvd, "tvd_median": tvd, "agree": 0.9, "f1": 0.8, "accuracy": 0.8}


def _bench(*, uniform: float = 0.79, adversary: float = 0.5) -> dict[str, Any]:
    score = {"accuracy": 0.8, "f1": 0.8}
    return {
        "seeds": {
            seed: {"base": score, "uniform": {"accuracy": uniform, "f1": uniform}, "permuted_jsd": 0.4}
            for seed in ("0", "1")
        },
        "pairs": {"0 1": _apart(0.2, 0.15)},
        "adversaries": {"0.001": _apart(0.1, 0.02), "0.01": _apart(adversary, 0.1), "0.1": _apart(0.69, 0.3)},
        "guides": {
            f"{guide} {seed}": {"accuracy": f1, "f1": f1}
            for guide, f1 in {"uniform": 0.7, "own": 0.72, "base": 0.75, "adversary": 0.6}.items()
            for seed in (0, 1)
        },
        "furthest": [0.6, 0.65],
    }


def test_the_adversary_that_counts_answers_as_nearly_as_another_seed() -> None:
    """The furthest of those; one that is further and answers otherwise is no twin."""
    found = quietest(_bench())
    assert found is not None
    assert found[0] == "0.01"
    assert quietest(_bench() | {"adversaries": {"1": _apart(0.69, 0.5)}}) is None


def test_claims_of_wiegreffe_and_pinter_can_fail() -> None:
    """All hold on findings like theirs; each is broken by what it is about, and by nothing else."""
    assert all(claim.holds for claim in wiegreffe_pinter({"sst2": _bench()}).claims)
    pairs = {"pairs": {"0 1": _apart(0.45, 0.15)}}
    near = {"adversaries": {"0.001": _apart(0.6, 0.02), "0.01": _apart(0.5, 0.1)}}
    guides = {
        name: score | {"f1": 0.76} if "adversary" in name else score for name, score in _bench()["guides"].items()
    }
    for broken, word in (
        (_bench(uniform=0.6), "uniform"),
        (_bench(adversary=0.15), "exists"),
        (_bench() | pairs, "seeds agree"),
        (_bench() | near, "the more"),
        (_bench() | {"guides": guides}, "guides a simpler model worse"),
        (_bench() | {"furthest": [0.3, 0.4]}, "by itself"),
    ):
        failed = [claim.claim for claim in wiegreffe_pinter({"sst2": broken}).claims if not claim.holds]
        assert len(failed) == 1
        assert word in failed[0]


def _asked(own: float, replaced: float) -> list[dict[str, Any]]:
    return [
        {
            "chance": 0.5,
            "replaced": {
                name: {"accuracy": own if name == "own" else replaced, "same": 0.7}
                for name in ("own", "uniform", "permuted", "random")
            },
            "trained": {"permuted": 0.6},
        }
    ]


def test_claims_of_vashishth_are_orderings() -> None:
    """They hold where single texts keep more, and fail where all keep the same."""
    kinds = {"single": 0.75, "pair": 0.5, "next word": 0.5}
    found = {kind: {"transformer": _asked(0.9, kept)} for kind, kept in kinds.items()}
    found["single"]["BiLSTM"] = _asked(0.8, 0.78)
    assert all(claim.holds for claim in vashishth(found).claims)
    same = {kind: {"transformer": _asked(0.9, 0.7)} for kind in kinds}
    same["single"]["BiLSTM"] = _asked(0.8, 0.78)
    assert sum(not claim.holds for claim in vashishth(same).claims) == 4
