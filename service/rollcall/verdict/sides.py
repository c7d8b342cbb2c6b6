"""A pair's two texts judged each for itself: does the map follow the effects among the words of this side?

A map may order the words of one text rightly and those of the other by chance. The same rows, effects and rules as for
the whole, on the units of one side; witnesses and rewiring are about the whole. No calibration promises anything of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rollcall.checks.alignment import EffectEstimate, alignment_value
from rollcall.checks.base import Subject
from rollcall.domain.distances import jsd_from_uniform
from rollcall.domain.maps import Bools, UnitMap
from rollcall.domain.verdicts import CheckOutcome, SideVerdict
from rollcall.verdict.decide import MapEvidence, decide


def judge_sides(
    subject: Subject, unit_map: UnitMap, estimate: EffectEstimate | None, evidence: MapEvidence
) -> tuple[SideVerdict, ...]:
    """One verdict for each text of a pair, from the evidence about the whole map; none where there is one text."""
    segments = np.array([unit.segment for unit in subject.encoding.units])
    if not segments.any():
        return ()
    return tuple(_judge(subject, unit_map, estimate, evidence, segments == segment, segment) for segment in (0, 1))


def _judge(
    subject: Subject,
    unit_map: UnitMap,
    estimate: EffectEstimate | None,
    evidence: MapEvidence,
    side: Bools,
    segment: int,
) -> SideVerdict:
    weights = unit_map.scores[side]
    share = float(weights.sum())
    own = None if estimate is None else estimate.among(side)
    value = alignment_value(weights, own.effects) if own is not None and evidence.finite else None
    flat = evidence.finite and share > 0 and bool(jsd_from_uniform(weights / share) < subject.policy.flat_map_jsd)
    told = replace(
        evidence,
        flat=len(weights) > 1 and flat,
        alignment=value,
        reliability=own.reliability if own is not None and value is not None else 0.0,
        may_omit_top_effect=False,
        rewiring=CheckOutcome.SKIPPED,
        operators_disagree=False,
        last=True,
        waiting=False,
    )
    ruling = decide(told, subject.policy)
    assert ruling is not None  # the last look has a last rule
    return SideVerdict(
        segment=segment,
        flag=ruling.flag,
        reason=ruling.reason,
        share=share,
        alignment=value,
        reliability=told.reliability,
    )
