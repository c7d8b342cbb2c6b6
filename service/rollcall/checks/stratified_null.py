"""Is the map better than one that merely marks content words, or the right part of the text?

The usual null relabels all units at random, and a map that gives content words more weight than the rest beats it
without knowing anything of this decision. Here weights are relabelled within classes of words, and within thirds of the
text: what is left to beat is a map with the right classes, or the right place. No rows are spent. Patches of an image
have no classes; the thirds of one are its top, its middle and its bottom.
"""

from __future__ import annotations

import numpy as np

from rollcall.checks.alignment import estimate_effects, rounding_of
from rollcall.checks.base import Subject
from rollcall.checks.masking import MaskFinding
from rollcall.domain.inputs import Modality, Unit
from rollcall.domain.maps import Floats, Ints, UnitMap
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.seeds import derived_seed, random_words
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult

SPECIAL, FUNCTION, CONTENT = range(3)
THIRDS = 3
TIES = 1e-12
"""Sums of products that are this close, relatively, are equal."""
_FUNCTION_WORDS = (
    "a about above after again against all am an and any are as at be because been before being below between both but "
    "by can could did do does doing down during each few for from further had has have having he her here hers herself "
    "him himself his how i if in into is it its itself just me more most my myself of off on once only or other our "
    "ours ourselves out over own same shall she should so some such than that the their theirs them themselves then "
    "there these they this those through to too under until up us very was we were what when where which while who "
    "whom why will with would you your yours yourself yourselves it's that's there's i'm he's she's they're we're "
    "you're i've we've they've i'd he'd she'd we'd they'd i'll"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words with little meaning of their own. Negations are no part of them: they carry meaning.

In another language all words are content, which leaves the null of punctuation against words.
"""


def word_class(unit: Unit) -> int:
    """SPECIAL for what has no letter or digit, FUNCTION where every word is a function word, else CONTENT."""
    words = unit.text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split()
    stripped = [word.strip("".join({c for c in word if not c.isalnum()})) for word in words]
    known = [word for word in stripped if word]
    if not known:
        return SPECIAL
    return FUNCTION if all(word in FUNCTION_WORDS for word in known) else CONTENT


def stratified_null(
    subject: Subject, unit_map: UnitMap, masks: MaskFinding, policy: ThoroughPolicy
) -> tuple[CheckResult, ...]:
    """Judge one map against both nulls, by effects from the rows of `masking` under the two usual operators."""
    usual = masks.by(*subject.operators)
    estimate = estimate_effects(usual.removed, usual.operators, usual.margins, rounding=rounding_of(subject.noise))
    strata = {"p_up_within_thirds": np.arange(subject.n) * THIRDS // subject.n}
    if subject.encoding.modality is Modality.TEXT:
        classes = np.array([word_class(unit) for unit in subject.encoding.units], dtype=np.int64)
        strata = {"p_up_within_word_classes": classes, **strata}
    effects = None if estimate is None else estimate.effects
    return tuple(_judge(subject, unit_map, effects, groups, policy, name) for name, groups in strata.items())


def within_strata(strata: Ints, permutations: int, seed: int) -> Ints:
    """Random relabellings [permutations, n] that move units only within their stratum; `strata` [n] from 0."""
    words = random_words(seed, "strata", (permutations, len(strata)))
    order = np.argsort(strata, kind="stable")
    shuffled = np.lexsort((words, np.broadcast_to(strata, words.shape)), axis=-1)
    relabelled = np.empty_like(shuffled)
    relabelled[:, order] = shuffled
    return np.asarray(relabelled, dtype=np.int64)


def stratified_p_value(weights: Floats, effects: Floats, strata: Ints, permutations: int, seed: int) -> float:
    """Share of relabellings of `weights` [n] within `strata` [n] that do at least as well, the observed one counted."""
    null = weights[within_strata(strata, permutations, seed)] @ effects
    observed = float(weights @ effects)
    return float((1 + (null >= observed - TIES * (1 + abs(observed))).sum()) / (1 + permutations))


def _judge(
    subject: Subject, unit_map: UnitMap, effects: Floats | None, strata: Ints, policy: ThoroughPolicy, statistic: str
) -> CheckResult:
    sizes = np.bincount(strata)
    movable = any(
        np.ptp(unit_map.scores[strata == group]) > 0 and effects is not None and np.ptp(effects[strata == group]) > 0
        for group in np.flatnonzero(sizes > 1)
    )
    if effects is None or not movable:
        return CheckResult(
            kind=CheckKind.STRATIFIED_NULL,
            outcome=CheckOutcome.SKIPPED,
            statistic=statistic,
            seed=subject.seed,
            detail="No relabelling within the strata changes anything: too few words, or constant weights or effects.",
        )
    seed = derived_seed(subject.seed, statistic)
    p_value = stratified_p_value(unit_map.scores, effects, strata, policy.permutations, seed)
    groups = ", ".join(str(size) for size in sizes if size)
    return CheckResult(
        kind=CheckKind.STRATIFIED_NULL,
        outcome=CheckOutcome.SUPPORTS if p_value <= policy.alpha else CheckOutcome.INCONCLUSIVE,
        statistic=statistic,
        value=p_value,
        threshold=policy.alpha,
        p_value=p_value,
        seed=seed,
        detail=f"{p_value:.1%} of relabellings within groups of {groups} units do at least as well.",
    )
