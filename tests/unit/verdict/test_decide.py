"""The table that turns evidence into a flag, row by row and in its order."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from rollcall.domain.verdicts import CheckOutcome, Flag, Reason
from rollcall.verdict.decide import RULES, MapEvidence, Ruling, decide, right, wrong
from rollcall.verdict.policies import STANDARD

SUPPORTS, CONTRADICTS, INCONCLUSIVE, SKIPPED, ERRORED = (
    CheckOutcome.SUPPORTS,
    CheckOutcome.CONTRADICTS,
    CheckOutcome.INCONCLUSIVE,
    CheckOutcome.SKIPPED,
    CheckOutcome.ERRORED,
)

GOOD = MapEvidence(
    finite=True,
    instrument=SUPPORTS,
    reach=SUPPORTS,
    flat=False,
    alignment=0.95,
    width=0.4,
    reliability=0.9,
    calibrated=True,
    may_omit_top_effect=False,
    rewiring=SUPPORTS,
    operators_disagree=False,
    last=False,
    cut=False,
)
"""Everything speaks for the map after the first look."""

STRICT = replace(STANDARD, require_calibration=True)

IN_ORDER: tuple[tuple[str, dict[str, Any], Reason], ...] = (
    ("values that are not numbers", {"finite": False}, Reason.NUMERICS),
    ("dead hooks", {"instrument": CONTRADICTS}, Reason.INSTRUMENT),
    ("a crash of the instruments", {"instrument": ERRORED}, Reason.INSTRUMENT),
    ("no time for a single look", {"cut": True, "reach": SKIPPED, "instrument": SKIPPED}, Reason.BUDGET),
    ("an input without effect", {"reach": CONTRADICTS}, Reason.NO_EFFECT),
    ("a flat map", {"flat": True}, Reason.FLAT_MAP),
    ("a control that shows nothing", {"instrument": INCONCLUSIVE}, Reason.INSTRUMENT),
    ("no instruments", {"instrument": SKIPPED}, Reason.INSTRUMENT),
    ("a crash of reach", {"reach": ERRORED}, Reason.INSTRUMENT),
    ("no alignment", {"alignment": None}, Reason.LOW_POWER),
    ("no calibration where the policy demands one", {"calibrated": False}, Reason.UNCALIBRATED),
    ("a crash of what could take it back", {"rewiring": ERRORED}, Reason.INSTRUMENT),
    ("attention that is not used", {"rewiring": CONTRADICTS}, Reason.NOT_USED),
    ("operators that disagree", {"operators_disagree": True}, Reason.OPERATOR_DISAGREEMENT),
)
"""What makes evidence inconclusive whatever A is, in the order of the table."""

NAMES = [name for name, _, _ in IN_ORDER]


def ruled(**changes: Any) -> Ruling | None:  # noqa: ANN401 - fields of MapEvidence
    """Ruling on good evidence with some of it changed, under a policy that demands a calibration."""
    return decide(replace(GOOD, **changes), STRICT)


def inconclusive(reason: Reason) -> Ruling:
    """The ruling of that reason."""
    return Ruling(flag=Flag.INCONCLUSIVE, reason=reason)


def test_good_evidence_is_faithful() -> None:
    """A map that is above the threshold by its width is faithful at the first look."""
    assert ruled() == Ruling(flag=Flag.FAITHFUL)


@pytest.mark.parametrize(("changes", "reason"), [(c, r) for _, c, r in IN_ORDER], ids=NAMES)
def test_each_obstacle_takes_the_flag_back(changes: dict[str, Any], reason: Reason) -> None:
    """However well a map aligns, each of these alone makes it inconclusive, with its own reason."""
    assert ruled(**changes) == inconclusive(reason)


@pytest.mark.parametrize(("earlier", "later"), [*combinations(range(len(IN_ORDER)), 2)])
def test_the_first_obstacle_names_the_reason(earlier: int, later: int) -> None:
    """Of two obstacles the one nearer to the measurement is named."""
    _, first, reason = IN_ORDER[earlier]
    _, second, _ = IN_ORDER[later]
    assert ruled(**(second | first)) == inconclusive(reason)


def test_there_is_a_test_for_every_rule() -> None:
    """A rule added to the table needs a row here."""
    assert len(RULES) == 17
    exercised = {
        next(number for number, (applies, _) in enumerate(RULES) if applies(replace(GOOD, **changes), STRICT))
        for changes in (
            *(changes for _, changes, _ in IN_ORDER),
            {},
            {"alignment": -0.5},
            {"alignment": 0.5, "cut": True},
            {"alignment": 0.5, "last": True},
            {"may_omit_top_effect": True, "last": True},
        )
    }
    assert exercised == set(range(len(RULES)))


@pytest.mark.parametrize(
    ("alignment", "width", "expected"),
    [
        (0.91, 0.4, Flag.FAITHFUL),
        (0.89, 0.4, None),
        (0.71, 0.2, Flag.FAITHFUL),
        (0.61, 0.1, Flag.FAITHFUL),
        (0.59, 0.1, None),
    ],
)
def test_faithful_is_above_the_threshold_by_the_width(alignment: float, width: float, expected: Flag | None) -> None:
    """A - w >= 0.5, at every look with that look's width."""
    ruling = ruled(alignment=alignment, width=width)
    assert (ruling and ruling.flag) == expected


@pytest.mark.parametrize(
    ("alignment", "width", "reliability", "expected"),
    [
        (0.04, 0.4, 0.9, Flag.UNFAITHFUL),
        (0.05, 0.4, 0.9, None),
        (0.34, 0.1, 0.9, Flag.UNFAITHFUL),
        (0.34, 0.1, 0.8, None),
        (0.24, 0.1, 0.7, Flag.UNFAITHFUL),
        (-1.0, 0.1, 0.69, None),
    ],
)
def test_unfaithful_is_below_what_noise_could_explain(
    alignment: float, width: float, reliability: float, expected: Flag | None
) -> None:
    """A + w < 0.5 rho, and never where the effects are not known well enough (rho < 0.7)."""
    ruling = ruled(alignment=alignment, width=width, reliability=reliability)
    assert (ruling and ruling.flag) == expected


@pytest.mark.parametrize("obstacle", ["may_omit_top_effect", "operators_disagree"])
def test_obstacles_to_faithful_do_not_save_an_unfaithful_map(obstacle: str) -> None:
    """What can only take FAITHFUL back leaves UNFAITHFUL alone."""
    assert ruled(alignment=-0.8, **{obstacle: True}) == Ruling(flag=Flag.UNFAITHFUL)
    assert ruled(alignment=-0.8, rewiring=CONTRADICTS) == Ruling(flag=Flag.UNFAITHFUL)


@pytest.mark.parametrize("obstacle", ["may_omit_top_effect", "operators_disagree"])
def test_obstacles_to_faithful_do_not_decide_an_open_map(obstacle: str) -> None:
    """An undecided map gets its next look."""
    assert ruled(alignment=0.5, **{obstacle: True}) is None


def test_a_right_map_that_may_omit_the_most_important_unit_waits() -> None:
    """More removals may tell which unit that is; if they do not, or there are no more, the map is not FAITHFUL."""
    assert ruled(may_omit_top_effect=True) is None
    assert ruled(may_omit_top_effect=True, last=True) == inconclusive(Reason.OMISSION)
    assert ruled(may_omit_top_effect=True, cut=True) == inconclusive(Reason.BUDGET)
    assert ruled(may_omit_top_effect=True, operators_disagree=True) == inconclusive(Reason.OPERATOR_DISAGREEMENT)


def test_an_open_map_asks_for_the_next_look_and_ends_undecided() -> None:
    """Between the two thresholds: look again; out of looks: too little power; out of budget: say that."""
    assert ruled(alignment=0.5) is None
    assert ruled(alignment=0.5, last=True) == inconclusive(Reason.LOW_POWER)
    assert ruled(alignment=0.5, cut=True) == inconclusive(Reason.BUDGET)
    assert ruled(alignment=0.5, cut=True, last=True) == inconclusive(Reason.BUDGET)


def test_a_cut_does_not_take_a_decision_back() -> None:
    """What the looks before the cut decide stands."""
    assert ruled(cut=True) == Ruling(flag=Flag.FAITHFUL)
    assert ruled(cut=True, alignment=-0.8) == Ruling(flag=Flag.UNFAITHFUL)


@pytest.mark.parametrize("rewiring", [SUPPORTS, SKIPPED, INCONCLUSIVE])
def test_rewiring_that_could_not_tell_changes_nothing(rewiring: CheckOutcome) -> None:
    """Only certified disuse takes a flag back."""
    assert ruled(rewiring=rewiring) == Ruling(flag=Flag.FAITHFUL)


def test_only_a_demanding_policy_needs_a_calibration() -> None:
    """The standard policy decides with default widths."""
    assert decide(replace(GOOD, calibrated=False), STANDARD) == Ruling(flag=Flag.FAITHFUL)


def test_a_map_is_never_right_and_wrong() -> None:
    """The two thresholds cannot both be passed, and without an A neither is."""
    for alignment in (None, *(x / 20 for x in range(-20, 21))):
        for width in (0.0, 0.1, 0.4):
            evidence = replace(GOOD, alignment=alignment, width=width, reliability=1.0)
            assert not (right(evidence, STANDARD) and wrong(evidence, STANDARD))
