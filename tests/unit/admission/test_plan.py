"""Plans: what will be done for a request, before anything is run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollcall.admission.plan import ServerDefaults, WorkPlan, plan_work
from rollcall.domain.errors import InvalidInput, Unsupported
from rollcall.domain.maps import ALWAYS_RETURNED, DEFAULT_MAPS, AttentionSelection, MapKind, MissingMap
from rollcall.domain.model import ModelCard
from rollcall.domain.policy import Policy
from rollcall.domain.verdicts import CheckLevel, Scope
from tests.harness import ask
from tests.unit.pipeline.cards import FAILED, PASSED, PLAIN, card

STANDARD, STRICT = Policy(name="standard", version=1), Policy(name="strict", version=1, max_rows=200)
POLICIES = {"standard": STANDARD, "strict": STRICT}
DEFAULTS = ServerDefaults(
    check_level=CheckLevel.STANDARD, policy="standard", max_rows=150, thorough_rows=400, most_rows=500
)


def plan(
    model: ModelCard = PLAIN,
    calibrated: MapKind | None = None,
    defaults: ServerDefaults = DEFAULTS,
    **fields: Any,  # noqa: ANN401 - the fields of ExplainRequest
) -> WorkPlan:
    """Plan a request with these fields."""
    return plan_work(ask("a film", **fields), model, calibrated, POLICIES, defaults)


def test_a_plain_request_gets_the_usual_maps() -> None:
    """Who asks for nothing special gets the maps that cost least, the server's level and policy, the policy's rows."""
    assert plan() == WorkPlan(
        maps=DEFAULT_MAPS,
        primary=MapKind.GRADIENT_ROLLOUT,
        level=CheckLevel.STANDARD,
        policy=STANDARD,
        max_rows=STANDARD.max_rows,
    )


def test_raw_attention_and_rollout_are_always_there() -> None:
    """Whatever maps are asked for, the two that people know come along, in the usual order."""
    assert plan(maps=(MapKind.NORM_ROLLOUT,)).maps == (*ALWAYS_RETURNED, MapKind.NORM_ROLLOUT)
    assert plan(maps=(MapKind.RAW_ATTENTION,)).maps == ALWAYS_RETURNED


def test_what_a_runtime_lacks_is_said_and_the_rest_answered() -> None:
    """A map that this runtime cannot make is left out with its reason; only as the primary one it ends the request."""
    reason = MissingMap(kind=MapKind.GRADIENT_ROLLOUT, reason="No gradients.", late=False)
    lacks = card(maps=ALWAYS_RETURNED, lacking=(reason,))
    assert plan(lacks).maps == ALWAYS_RETURNED
    assert plan(lacks).lacking == (reason,)
    assert plan(lacks).primary is MapKind.ATTENTION_ROLLOUT
    assert plan(lacks, maps=(MapKind.RAW_ATTENTION,)).lacking == ()
    assert plan(lacks, maps=(MapKind.GRADIENT_ROLLOUT,)).lacking == (reason,)
    with pytest.raises(Unsupported, match=r"cannot make the map GRADIENT_ROLLOUT: No gradients\."):
        plan(lacks, primary_map=MapKind.GRADIENT_ROLLOUT)
    with pytest.raises(Unsupported, match="cannot make the map NORM_ROLLOUT"):
        plan(lacks, maps=(MapKind.NORM_ROLLOUT,))


def test_a_model_whose_attention_is_closed_is_explained_by_its_effects() -> None:
    """What is left is EFFECT or what the calibration chose, without checks LEAVE_ONE_OUT.

    Who insists on attention reads why there is none.
    """
    kinds = (MapKind.LEAVE_ONE_OUT, MapKind.EFFECT)
    lacking = tuple(MissingMap(kind=kind, reason="Closed.", late=False) for kind in MapKind if kind not in kinds)
    closed = card(maps=kinds, lacking=lacking, scope=Scope.INPUT_ONLY, layers=0, heads=0)
    usual = plan(closed)
    assert (usual.maps, usual.primary) == ((MapKind.EFFECT,), MapKind.EFFECT)
    assert tuple(each.kind for each in usual.lacking) == DEFAULT_MAPS
    assert plan(closed, check_level=CheckLevel.NONE).maps == (MapKind.LEAVE_ONE_OUT,)
    chosen = plan(closed, calibrated=MapKind.LEAVE_ONE_OUT)
    assert (chosen.maps, chosen.primary) == ((MapKind.LEAVE_ONE_OUT,), MapKind.LEAVE_ONE_OUT)
    assert plan(closed, calibrated=MapKind.LEAVE_ONE_OUT, maps=(MapKind.EFFECT,)).primary is MapKind.EFFECT
    for fields in ({"maps": ALWAYS_RETURNED}, {"primary_map": MapKind.RAW_ATTENTION}):
        with pytest.raises(Unsupported, match=r"cannot make the map \w+: Closed\."):
            plan(closed, **fields)
    with pytest.raises(Unsupported, match="its attention cannot be opened"):
        plan(closed, attention=AttentionSelection())


def test_the_primary_map_is_the_requests_then_the_calibrations() -> None:
    """The answer's flag is that of the map asked for; else of the calibrated one; else of the best one there is."""
    assert plan(primary_map=MapKind.NORM_ROLLOUT, calibrated=MapKind.RAW_ATTENTION).primary is MapKind.NORM_ROLLOUT
    assert plan(calibrated=MapKind.RAW_ATTENTION).primary is MapKind.RAW_ATTENTION
    assert plan(maps=ALWAYS_RETURNED).primary is MapKind.ATTENTION_ROLLOUT
    assert plan(maps=ALWAYS_RETURNED, calibrated=MapKind.GRADIENT_ROLLOUT).primary is MapKind.ATTENTION_ROLLOUT
    assert plan(card(maps=ALWAYS_RETURNED)).primary is MapKind.ATTENTION_ROLLOUT


def test_maps_that_cost_more_are_made_where_they_are_asked_for() -> None:
    """Nobody pays for a map that takes more than one forward and backward without having asked for it."""
    assert MapKind.INTEGRATED_GRADIENTS not in plan().maps
    found = plan(maps=(MapKind.INTEGRATED_GRADIENTS,), primary_map=MapKind.INPUT_X_GRADIENT)
    assert found.maps == (*ALWAYS_RETURNED, MapKind.INPUT_X_GRADIENT, MapKind.INTEGRATED_GRADIENTS)
    assert plan(card(maps=ALWAYS_RETURNED)).maps == ALWAYS_RETURNED


def test_a_primary_map_that_was_not_listed_is_added() -> None:
    """The primary map is always among the maps."""
    found = plan(maps=(MapKind.RAW_ATTENTION,), primary_map=MapKind.GRADIENT_ROLLOUT)
    assert found.primary in found.maps


def test_maps_that_a_model_cannot_make_are_refused() -> None:
    """A map that this backend lacks is refused by name, not left out."""
    poor = card(maps=ALWAYS_RETURNED)
    for fields in ({"maps": (MapKind.NORM_ROLLOUT,)}, {"primary_map": MapKind.NORM_ROLLOUT}):
        with pytest.raises(Unsupported, match="NORM_ROLLOUT") as refusal:
            plan(poor, **fields)
        assert refusal.value.subject == "map.NORM_ROLLOUT"


def test_a_model_that_failed_its_self_test_is_not_explained() -> None:
    """Explanations of a model whose hooks are not proved are refused, and the failing test is named."""
    with pytest.raises(Unsupported, match="masked_keys_are_zero") as refusal:
        plan(card(self_tests=(PASSED, FAILED)))
    assert refusal.value.subject == "self_test.masked_keys_are_zero"


def test_a_model_that_was_never_tested_is_not_explained() -> None:
    """No test is no proof."""
    with pytest.raises(Unsupported) as refusal:
        plan(card(self_tests=()))
    assert refusal.value.subject == "self_test.missing"


def test_levels_are_the_requests_or_the_servers() -> None:
    """A request may ask for less than the server's level, or for more."""
    assert plan(check_level=CheckLevel.NONE).level is CheckLevel.NONE
    quiet = replace(DEFAULTS, check_level=CheckLevel.NONE)
    assert plan(defaults=quiet).level is CheckLevel.NONE
    assert plan(defaults=quiet, check_level=CheckLevel.STANDARD).level is CheckLevel.STANDARD
    assert plan(check_level=CheckLevel.THOROUGH).level is CheckLevel.THOROUGH


def test_thorough_requests_have_rows_of_their_own() -> None:
    """The policy's number is for the standard checks; a thorough request has the server's, within its limit."""
    assert plan(check_level=CheckLevel.THOROUGH).max_rows == 400
    assert plan(check_level=CheckLevel.THOROUGH, max_rows=90).max_rows == 90
    generous = replace(DEFAULTS, thorough_rows=4_000)
    assert plan(defaults=generous, check_level=CheckLevel.THOROUGH).max_rows == 500


def test_policies_are_chosen_by_name() -> None:
    """A request names its policy; an unknown one is refused with those there are."""
    assert plan(policy="strict").policy is STRICT
    assert plan(defaults=replace(DEFAULTS, policy="strict")).policy is STRICT
    with pytest.raises(InvalidInput, match="standard, strict") as refusal:
        plan(policy="lenient")
    assert refusal.value.violations[0].field == "policy"


@pytest.mark.parametrize("rows", [1, 122, 500])
def test_rows_are_the_requests_within_limits(rows: int) -> None:
    """A request may ask for as many rows as the server allows."""
    assert plan(max_rows=rows).max_rows == rows


@pytest.mark.parametrize("rows", [0, -1, 501, 2**31])
def test_rows_beyond_the_limits_are_refused(rows: int) -> None:
    """No rows, and more than the server allows, are the caller's mistake."""
    with pytest.raises(InvalidInput, match="between 1 and 500") as refusal:
        plan(max_rows=rows)
    assert refusal.value.violations[0].field == "max_rows"


def test_rows_that_are_not_asked_for_are_the_smaller_of_policy_and_server() -> None:
    """Without a wish, the policy's rows are run, and never more than the server's."""
    assert plan().max_rows == 122
    assert plan(policy="strict").max_rows == 150
    assert plan(defaults=replace(DEFAULTS, max_rows=20)).max_rows == 20
