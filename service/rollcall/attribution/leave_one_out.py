"""LEAVE_ONE_OUT: how far the margin drops when one unit is removed (Zeiler and Fergus 2014; Li et al. 2016)."""

from __future__ import annotations

from rollcall.attribution.units import shares
from rollcall.checks.base import WAYS, Subject
from rollcall.domain.maps import MapKind, UnitMap
from rollcall.domain.rows import Row, RowResult


def leave_one_out_rows(subject: Subject) -> list[Row]:
    """Each unit removed by itself, by one operator and then by the other: 2 n rows."""
    return [subject.removal((unit,), operator) for unit in range(subject.n) for operator in subject.operators]


def leave_one_out(subject: Subject, results: list[RowResult]) -> UnitMap:
    """The positive part of the drops, mean of both operators, from the results of `leave_one_out_rows`.

    Where no removal lowers the margin the map is uniform: it says nothing. NaN stays NaN.
    """
    drops = subject.margin - subject.margins(results).reshape(subject.n, WAYS).mean(axis=1)
    return UnitMap(kind=MapKind.LEAVE_ONE_OUT, scores=shares(drops.clip(min=0)), dropped_mass=0.0)
