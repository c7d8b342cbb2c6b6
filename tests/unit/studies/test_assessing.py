"""`rollcall assess`: shares, advice, requirements and the page, on cases by hand and on the packaged model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rollcall.__main__ import main
from rollcall.demo import model_directory
from rollcall.domain.verdicts import Flag, Reason
from rollcall.studies.assessing import RequirementError, assess, page, parse_requirement
from rollcall.studies.cases import Case, SideCase
from rollcall.verdict.calibration import calibration_path
from rollcall.verdict.decide import Ruling
from tests.unit.studies.test_calibrating import BAD, GOOD, case

RULINGS = {
    "f": Ruling(flag=Flag.FAITHFUL),
    "u": Ruling(flag=Flag.UNFAITHFUL),
    "i": Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.LOW_POWER),
}


def cases_of(good: str, bad: str) -> list[Case]:
    """One input for each letter, with the flags that the letters say; the good map is recommended where FAITHFUL."""
    found = []
    for number, flags in enumerate(zip(good, bad, strict=True)):
        plain = case(number, np.random.default_rng(number), extra=False)
        maps = {
            name: replace(plain.maps[name], served=RULINGS[letter], served_removals=16)
            for name, letter in zip((GOOD, BAD), flags, strict=True)
        }
        recommended = GOOD if flags[0] == "f" else None
        found.append(replace(plain, maps=maps, recommended=recommended, served_rows=50 + number))
    return found


def test_shares_are_counted_and_examples_named() -> None:
    """By hand."""
    found = assess(cases_of("fffui", "uuuif"))
    good = found["maps"][GOOD]
    assert [good[flag]["count"] for flag in ("faithful", "unfaithful", "inconclusive")] == [3, 1, 1]
    assert good["examples"] == {"faithful": [0, 1], "unfaithful": [3], "inconclusive": [4]}
    assert good["reasons"] == {"low_power": 1}
    assert found["recommended"]["count"] == 3
    assert found["recommended"]["maps"] == {GOOD: 3}
    assert found["cost"]["rows"] == {"median": 52, "most": 54}


@pytest.mark.parametrize(
    ("flags", "advice"),
    [
        ("f" * 60, "show"),
        ("f" * 20, "show with its flag"),
        ("f" * 10 + "u" * 50, "do not show"),
        ("fu", "show with its flag"),
    ],
)
def test_advice_rests_on_the_interval_not_on_the_share(flags: str, advice: str) -> None:
    """Twenty of twenty are not yet nearly always; one of two says nothing."""
    assert assess(cases_of(flags, flags))["maps"][GOOD]["advice"] == advice


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("recommended>=0.6", True),
        ("recommended>=.61", False),
        ("gradient-rollout>=0.6", True),
        ("gradient_rollout:unfaithful<=0.2", True),
        ("gradient_rollout:UNFAITHFUL<=0.1", False),
        ("raw_attention:inconclusive>=1", False),
        ("norm_rollout>=0", False),
    ],
)
def test_requirements_are_about_shares(text: str, met: bool) -> None:  # noqa: FBT001
    """A map that was not measured meets none."""
    assert parse_requirement(text).met(assess(cases_of("fffui", "uuuif"))) is met


@pytest.mark.parametrize(
    "text",
    [
        "",
        "recommended",
        "recommended>0.5",
        "recommended>=5",
        "recommended:unfaithful<=0.1",
        "a:b>=0.5",
        "x>=.",
        "x>=1.2.3",
    ],
)
def test_a_requirement_that_cannot_be_read_says_what_is_expected(text: str) -> None:
    """With an example."""
    with pytest.raises(RequirementError, match=r"e\.g\. recommended>=0\.7"):
        parse_requirement(text)


def test_the_page_tells_it_all() -> None:
    """Advice, shares with their ranges, cost, and excerpts of the texts, long ones cut."""
    found = assess(cases_of("fffui", "uuuif"))
    texts = {number: (f"text {number} " + "very " * 40,) for number in range(5)}
    told = page(found, texts, model="reviews", calibration="No promise.", data="d/x.tsv")
    assert "# May the maps of reviews be shown?" in told
    assert "| gradient_rollout | show with its flag | 60% (15% to 95%)" in told
    assert "52 forward rows (at most 54)" in told
    assert "- gradient_rollout, UNFAITHFUL: text 3 very" in told
    assert max(len(line) for line in told.splitlines() if line.startswith("- ")) < 150


def test_both_texts_of_a_pair_are_in_the_page() -> None:
    """Neither hides the other one, however long it is."""
    found = assess(cases_of("f", "u"))
    told = page(found, {0: ("first " * 40, "second " * 40)}, model="pairs", calibration="", data="d")
    examples = [line for line in told.splitlines() if line.startswith("- ")]
    assert examples
    for line in examples:
        assert "first first" in line
        assert " / second second" in line
        assert len(line) < 150


def test_each_text_of_a_pair_has_its_shares() -> None:
    """By hand: the flags of both sides, and no table where there are no pairs."""
    some = cases_of("ff", "uu")
    assert "Each text of a pair" not in page(assess(some), {0: ("a",), 1: ("b",)}, model="", calibration="", data="")
    sided = []
    for one, letters in zip(some, ("fu", "fi"), strict=True):
        sides = tuple(SideCase(served=RULINGS[letter], truth=None) for letter in letters)
        sided.append(replace(one, maps={GOOD: replace(one.maps[GOOD], sides=sides), BAD: one.maps[BAD]}))
    found = assess(sided)
    first, second = found["maps"][GOOD]["sides"]
    assert [first[flag]["count"] for flag in ("faithful", "unfaithful", "inconclusive")] == [2, 0, 0]
    assert [second[flag]["count"] for flag in ("faithful", "unfaithful", "inconclusive")] == [0, 1, 1]
    assert found["maps"][BAD]["sides"] == []
    told = page(found, {0: ("a", "b"), 1: ("c", "d")}, model="", calibration="", data="")
    assert "| gradient_rollout | second | 0% (0% to 84%) | 50% (1% to 99%) | 50% (1% to 99%) |" in told


def test_the_command_answers_on_one_page_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the model's calibration, with exit codes for pipelines; what was measured is kept without its text."""
    shutil.copytree(model_directory(), tmp_path / "model")
    shutil.copy(calibration_path(model_directory()), tmp_path / "model.calibration.json")
    words = ["a quiet triumph", "dull and lifeless", "not a bad film at all", "wonderful music"]
    (tmp_path / "d.txt").write_text("\n".join(words))
    base = ["assess", "--model", str(tmp_path / "model"), "--data", str(tmp_path / "d.txt"), "--quiet"]
    assert main([*base, "--require", "recommended>=0", "--out", str(tmp_path / "page.md")]) == 0
    told = capsys.readouterr()
    assert "holds: recommended:faithful>=0" in told.err
    assert (tmp_path / "page.md").read_text() == told.out
    assert "calibration set" in told.out
    (journal,) = (tmp_path / "model.assessment.work").iterdir()
    assert "lifeless" not in journal.read_text()
    before = journal.read_bytes()
    assert main([*base, "--require", "recommended>=1", "--require", "raw_attention:inconclusive>=1", "--json"]) == 1
    again = capsys.readouterr()
    assert "DOES NOT HOLD: raw_attention" in again.err
    assert json.loads(again.out)["inputs"] == 4
    assert journal.read_bytes() == before
    assert main([*base, "--require", "nice"]) == 2
    (tmp_path / "model.calibration.json").write_text('{"format": 1}')
    assert main(base) == 2
    assert "rollcall calibrate" in capsys.readouterr().err
    (tmp_path / "model.calibration.json").write_text("{")
    assert main(base) == 2
    assert "model.calibration.json: no JSON" in capsys.readouterr().err
