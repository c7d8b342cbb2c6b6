"""The plan of one explanation: which maps, which is primary, how deep to check, under which policy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollcall.domain.errors import InvalidInput, Unsupported
from rollcall.domain.explanation import ExplainRequest
from rollcall.domain.maps import ALWAYS_RETURNED, DEFAULT_MAPS, MEASURED_MAPS, MapKind, MissingMap
from rollcall.domain.model import ModelCard
from rollcall.domain.policy import Policy
from rollcall.domain.verdicts import CheckLevel, Scope

PRIMARY_ORDER = (
    MapKind.GRADIENT_ROLLOUT,
    MapKind.ATTENTION_ROLLOUT,
    MapKind.EFFECT,
    MapKind.LEAVE_ONE_OUT,
    MapKind.RAW_ATTENTION,
)
"""The primary map where neither request nor calibration names one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDefaults:
    """What holds where a request says nothing. Replaced as a whole when the settings are read again."""

    check_level: CheckLevel
    policy: str
    max_rows: int
    """Rows of a request that does not say; never more than the policy can use."""
    thorough_rows: int
    """The same at the level THOROUGH, whatever the policy uses."""
    most_rows: int
    """Largest `max_rows` that a request may ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPlan:
    """What will be done for one request."""

    maps: tuple[MapKind, ...]
    primary: MapKind
    level: CheckLevel
    policy: Policy
    max_rows: int
    lacking: tuple[MissingMap, ...] = ()
    """Maps that were asked for and that this model's runtime cannot make."""


def plan_work(
    request: ExplainRequest,
    card: ModelCard,
    calibrated_primary: MapKind | None,
    policies: Mapping[str, Policy],
    defaults: ServerDefaults,
) -> WorkPlan:
    """Plan; raises InvalidInput for an unknown policy or row count, Unsupported for what is not available."""
    if not card.explainable:
        failed = next((test for test in card.self_tests if test.required and not test.passed), None)
        name = failed.name if failed else "missing"
        raise Unsupported(
            f"self_test.{name}", f"model {card.ref.name} failed the self-test {name} at load: predictions only"
        )
    level = request.check_level or defaults.check_level
    policy = policies.get(request.policy or defaults.policy)
    if policy is None:
        raise InvalidInput.of("policy", f"unknown; available: {', '.join(sorted(policies))}")
    if request.max_rows is not None and not 1 <= request.max_rows <= defaults.most_rows:
        raise InvalidInput.of("max_rows", f"must be between 1 and {defaults.most_rows}")
    lacking = {each.kind: each for each in card.lacking}
    usual = [kind for kind in DEFAULT_MAPS if kind in card.maps or kind in lacking]
    if card.scope is Scope.INPUT_ONLY:  # all that can be said without attention
        measured = calibrated_primary if calibrated_primary in MEASURED_MAPS else MapKind.EFFECT
        usual.append(MapKind.LEAVE_ONE_OUT if level is CheckLevel.NONE else measured)
        if request.attention is not None:
            raise Unsupported("attention", f"model {card.ref.name}: its attention cannot be opened")
    primary = set() if request.primary_map is None else {request.primary_map}
    asked = set(request.maps or usual) | set(ALWAYS_RETURNED) | primary
    wanted = asked.intersection(card.maps)
    # Without one map the answer is still one; without its primary map it is none.
    missing = asked - wanted - (lacking.keys() - primary if wanted else set())
    if missing:
        name = min(kind.name for kind in missing)
        why = f": {lacking[MapKind[name]].reason}" if MapKind[name] in lacking else ""
        raise Unsupported(f"map.{name}", f"model {card.ref.name} cannot make the map {name}{why}")
    if MapKind.EFFECT in wanted and level is CheckLevel.NONE:
        raise Unsupported("map.EFFECT", "the map EFFECT is made of the checks' rows: it needs check_level STANDARD")
    usual_rows = min(policy.max_rows, defaults.max_rows)
    if level is CheckLevel.THOROUGH:
        usual_rows = min(defaults.thorough_rows, defaults.most_rows)
    candidates = (request.primary_map, calibrated_primary, *PRIMARY_ORDER)
    return WorkPlan(
        maps=tuple(kind for kind in MapKind if kind in wanted),
        lacking=tuple(lacking[kind] for kind in MapKind if kind in asked and kind in lacking),
        primary=next(kind for kind in candidates if kind in wanted and kind is not None),
        level=level,
        policy=policy,
        max_rows=request.max_rows or usual_rows,
    )
