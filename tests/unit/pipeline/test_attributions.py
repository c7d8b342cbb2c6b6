"""Maps and their verdicts: none leaves without one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import Flag, Reason, Scope
from rollcall.pipeline.attributions import attribute
from rollcall.verdict.policies import STANDARD
from tests.calibrations import calibration
from tests.unit.pipeline.fakes import SumModel
from tests.unit.pipeline.test_checking import RIGHT, WRONG, checker_of, subject_of

CALIBRATION = calibration(longest=8)


def test_maps_that_were_not_checked_say_so() -> None:
    """Without checks every map comes with NOT_CHECKED, under the policy that would have held."""
    found = attribute((RIGHT, WRONG), None, subject_of(), None)
    assert [a.map for a in found] == [RIGHT, WRONG]
    for attribution in found:
        verdict = attribution.verdict
        assert (verdict.flag, verdict.reason, verdict.scope) == (Flag.NOT_CHECKED, Reason.NONE, Scope.ALL_LAYERS)
        assert (verdict.alignment, verdict.checks, verdict.witnesses) == (None, (), ())
        assert verdict.calibration.id == "NONE"
        assert verdict.policy_digest == STANDARD.digest


async def test_verdicts_carry_every_number_to_decide_again() -> None:
    """A verdict names its policy with all thresholds, and how far its map is from saying nothing."""
    checked = await checker_of(SumModel(), (RIGHT, WRONG)).check()
    right, wrong = attribute((RIGHT, WRONG), checked, subject_of(), None)
    assert (right.verdict.flag, wrong.verdict.flag) == (Flag.FAITHFUL, Flag.UNFAITHFUL)
    assert right.map is RIGHT
    assert right.verdict.thresholds == STANDARD.thresholds()
    assert right.verdict.policy_id == "standard@3"
    assert right.verdict.jsd_from_uniform is not None
    assert right.verdict.jsd_from_uniform > STANDARD.flat_map_jsd
    assert right.verdict.alignment is not None


@pytest.mark.parametrize(("longest", "named"), [(8, "cal"), (7, "OUT_OF_RANGE")])
def test_a_calibration_is_named_where_it_holds(longest: int, named: str) -> None:
    """For inputs longer than calibrated the verdict says so."""
    (found,) = attribute((RIGHT,), None, subject_of(), replace(CALIBRATION, longest=longest))
    assert found.verdict.calibration.id == named


async def test_a_distance_that_is_no_number_is_left_out() -> None:
    """No NaN reaches a reply as a number."""
    nothing = replace(RIGHT, kind=MapKind.NORM_ROLLOUT, scores=np.full(8, np.nan))

    checked = await checker_of(SumModel(), (nothing,)).check()
    (found,) = attribute((nothing,), checked, subject_of(), None)
    assert found.verdict.jsd_from_uniform is None
    assert (found.verdict.flag, found.verdict.reason) == (Flag.INCONCLUSIVE, Reason.NUMERICS)
