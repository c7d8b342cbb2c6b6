"""The policies that a request may name."""

from __future__ import annotations

from rollcall.verdict.policies import POLICIES, STANDARD


def test_standard_three_has_these_numbers_for_ever() -> None:
    """A verdict made under standard@3 can be decided again with the same thresholds: new numbers need a new version."""
    assert STANDARD.id == "standard@3"
    assert STANDARD.digest == GOLDEN_DIGEST
    assert STANDARD.alignment_threshold == 0.5
    assert STANDARD.minimum_reliability == 0.7
    assert (STANDARD.widths, STANDARD.looks, STANDARD.path) == ((0.4, 0.2, 0.1), (16, 16, 16), (4.0, 2.0, 1.0))
    assert (STANDARD.prior_looks, STANDARD.prior_path) == ((8, 8, 16, 16), (4.0, 3.0, 2.0, 1.0))
    assert STANDARD.flat_map_jsd == 0.01
    assert (STANDARD.reach_margin_share, STANDARD.reach_spread_share) == (0.10, 0.05)
    assert (STANDARD.rewiring_draws, STANDARD.rewiring_jsd, STANDARD.rewiring_minimum) == ((8, 4, 0), 0.1, 5)
    assert (STANDARD.rewiring_probability, STANDARD.rewiring_confidence) == (0.5, 0.975)


def test_standard_spends_at_most_its_documented_rows() -> None:
    """At most 66 rows shared by all maps, 24 for the witnesses of each of two maps, 8 for the decision flip."""
    assert sum(STANDARD.prior_looks) == sum(STANDARD.looks)
    shared = 1 + 5 + sum(STANDARD.looks) + sum(STANDARD.rewiring_draws)
    witnesses = 4 * STANDARD.omission_units + 4 + 4 * len(STANDARD.contradiction_shares)
    assert (shared, witnesses, STANDARD.flip_rows) == (66, 24, 8)
    assert shared + 2 * witnesses + STANDARD.flip_rows == STANDARD.max_rows


def test_policies_are_found_by_their_name() -> None:
    """A request names its policy without a version."""
    assert POLICIES["standard"] is STANDARD
    assert all(name == policy.name for name, policy in POLICIES.items())


GOLDEN_DIGEST = "sha256:9725269eb94a476a3cea4adcc52d865a3444892858dfc958358b9f96bcace7dc"
