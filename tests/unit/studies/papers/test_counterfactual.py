"""Edited words and flip sets, counted by hand; and a model under dropout that is itself again afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rollcall.domain.inputs import TextInput, Unit
from rollcall.models.loading import load_model
from rollcall.studies.laboratory import Laboratory
from rollcall.studies.papers.counterfactual.report import result
from rollcall.studies.papers.counterfactual.reviews import held_out_pairs, rarity, word_counts
from rollcall.studies.papers.counterfactual.study import DROPPED, PASSES, disturbed, hits, in_passes
from rollcall.studies.papers.counterfactual.summed import CONTROL, EFFECT, RAW, summed
from rollcall.verdict.policies import STANDARD
from tests.tiny import TEXT, make_model


def review_files(directory: Path, *rows: str) -> Path:
    """Files of reviews; all have the same rows but for their training words."""
    for name in ("train.tsv", "test.tsv"):
        mark = "learned " if name == "train.tsv" else ""
        lines = ["label\tpair_id\ttext", *(row.replace("|", f"\t{mark}").replace("#", "\t") for row in rows)]
        (directory / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return directory


def test_hits_are_counted_in_the_maps_own_order() -> None:
    """Edited are the 2nd and 4th of five; the map puts the 4th first and the 2nd last."""
    edited, flip = np.array([0, 1, 0, 1, 0], dtype=bool), np.array([0, 0, 0, 1, 1], dtype=bool)
    found = hits(np.array([0.2, 0.0, 0.3, 0.4, 0.1]), edited, flip)
    assert found == {"as_flip": 1, "as_edited": 1, "auroc": 0.5}
    assert hits(np.array([0.2, 0.5, 0.3, 0.6, 0.1]), edited, None) == {"as_flip": None, "as_edited": 2, "auroc": 1.0}
    assert hits(np.ones(5), np.zeros(5, dtype=bool), None)["auroc"] is None


def test_pairs_are_of_opposite_opinions(tmp_path: Path) -> None:
    """In a seeded order; a pair of one opinion is refused, and named."""
    rows = [f"{label}#{pair}|{word} film {pair}" for pair in range(5) for label, word in ((1, "good"), (0, "bad"))]
    pairs = held_out_pairs(review_files(tmp_path, *rows), seed=0)
    assert sorted(pair.number for pair in pairs) == [0, 1, 2, 3, 4]
    assert pairs == held_out_pairs(tmp_path, seed=0)
    assert [pair.number for pair in pairs] != [pair.number for pair in held_out_pairs(tmp_path, seed=1)]
    assert all({one.label for one in pair.texts} == {0, 1} for pair in pairs)
    with pytest.raises(ValueError, match=r"pair 1 .* does not have two opinions"):
        held_out_pairs(review_files(tmp_path, *rows[:2], "1#7|fine film", "1#7|great film"), seed=0)


def test_the_control_knows_how_rare_words_are(tmp_path: Path) -> None:
    """By the texts to learn from, whatever the case; punctuation is no word."""
    counts = word_counts(review_files(tmp_path, "1#0|the Good film", "0#0|the bad film"))
    assert (counts["the"], counts["good"], counts["learned"]) == (2, 1, 2)
    units = [
        Unit(text=text, token_start=0, token_end=1, char_start=0, char_end=1, segment=0)
        for text in ("the", "good", "The unheard", "!")
    ]
    np.testing.assert_allclose(rarity(units, counts), [1 / 3, 1 / 2, 1, 0])


def test_dropout_disturbs_maps_and_is_gone_afterwards(tmp_path: Path) -> None:
    """The passes differ, the same seed gives the same pass, and the model then answers as the one that is served."""
    directory = make_model("bert", tmp_path / "m", classes=2, hidden_dropout_prob=0.1)
    laboratory, model = disturbed(directory)
    state = torch.random.get_rng_state()
    first, again = (in_passes(laboratory, model, TextInput(text=TEXT), number=3) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    raw = [bench.captured.maps[0].scores for bench in first]
    assert len(raw) == PASSES
    assert len({scores.tobytes() for scores in raw}) == PASSES
    np.testing.assert_array_equal(raw, [bench.captured.maps[0].scores for bench in again])
    served = Laboratory(model=load_model(directory), policy=STANDARD, kinds=DROPPED).open(TextInput(text=TEXT))
    calm = laboratory.open(TextInput(text=TEXT))
    for one, other in zip(calm.captured.maps, served.captured.maps, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)


def text(*, right: bool, raw: list[float], effect: list[float]) -> dict[str, Any]:
    """One text of four units, the first of them edited and the whole flip set."""
    edited, flip = np.array([True, False, False, False]), np.array([True, False, False, False])
    maps = {RAW: raw, EFFECT: effect, CONTROL: [0.25, 0.25, 0.3, 0.2]}
    return {
        "units": 4,
        "edited": 1,
        "right": right,
        "probability": 0.9,
        "flip": [1, 1],
        "hits": {name: hits(np.array(weights), edited, flip) for name, weights in maps.items()},
        "without_edited": {"edited": 1.0, "random": 0.25},
        "maps": {name: weights * 2 for name, weights in maps.items()},
    }


def test_only_pairs_that_the_edit_turns_are_counted() -> None:
    """Flip sets that are the edit have a precision of 1; a map that never finds it 0; wrong pairs count for neither."""
    good, bad = [0.7, 0.1, 0.15, 0.05], [0.1, 0.4, 0.3, 0.2]
    hit = text(right=True, raw=bad, effect=good)
    missed = text(right=False, raw=good, effect=bad)
    dropped = {"number": 0, "probabilities": [0.5, 0.6], "maps": {RAW: [good * 2, bad * 2]}}
    pairs = [{"number": n, "texts": [hit, hit if n else missed]} for n in range(3)]
    found = {seed: {"accuracy": 0.8, "pairs": pairs, "dropout": {"texts": [dropped]}} for seed in (0, 1)}
    one = summed(found)
    assert one.turned.value == pytest.approx(2 / 3)
    assert len(one.texts) == 8
    assert (one.flip.precision.value, one.maps[RAW].precision.value, one.maps[EFFECT].precision.value) == (1, 0, 1)
    assert one.chance.value == 0.25
    assert one.seeds[RAW].spearman.value == pytest.approx(1)
    assert one.dropout_predictions.value == pytest.approx(0.1)
    made = result(found)
    assert all(claim.holds for claim in made.claims)
    assert "not so here" in made.comparisons[2].differs


def test_edits_that_decide_nothing_fail_every_claim() -> None:
    """The flip set is elsewhere, removing the edit changes less than chance, and most pairs do not turn round."""
    good, bad = [0.7, 0.1, 0.15, 0.05], [0.1, 0.4, 0.3, 0.2]
    idle = text(right=True, raw=good, effect=bad) | {
        "flip": [1, 0],
        "without_edited": {"edited": 0.1, "random": 0.25},
    }
    wrong = text(right=False, raw=good, effect=bad)
    dropped = {"number": 0, "probabilities": [0.5, 0.6], "maps": {RAW: [good * 2, bad * 2]}}
    pairs = [{"number": n, "texts": [idle, idle] if n == 0 else [idle, wrong]} for n in range(3)]
    found = {seed: {"accuracy": 0.8, "pairs": pairs, "dropout": {"texts": [dropped]}} for seed in (0, 1)}
    assert not any(claim.holds for claim in result(found).claims)
