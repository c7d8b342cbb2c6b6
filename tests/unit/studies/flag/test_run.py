"""The study as its users run it, on families whose weights are written down: faults, tampering, going on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rollcall.__main__ import main
from rollcall.domain.verdicts import Reason
from rollcall.studies.flag.families.tampered import Tampering
from rollcall.studies.flag.members import FAMILIES
from rollcall.studies.flag.run import FAULTS, MissingMemberError, Runner

BY_NAME = {family.name: family for family in FAMILIES}
SELECTOR = BY_NAME["selector"]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """One that keeps its models for all tests here."""
    return Runner(cache=tmp_path_factory.mktemp("models"), data=None, out=tmp_path_factory.mktemp("out"), quiet=True)


def test_tampered_maps_are_judged_beside_the_models_own(runner: Runner) -> None:
    """All eight, with their truth, offered by nobody; the same when they are made again after a stop."""
    whole = runner.measure(SELECTOR, 0, 4)
    for case in whole.cases:
        for tampering in Tampering:
            found = case.maps[tampering.value]
            assert found.served is None
            assert found.truth is not None
            if not found.looks[0].evidence.flat:
                assert len(found.looks) == len(case.maps["raw_attention"].looks)
        assert case.maps["uniform"].looks[-1].evidence.flat
    journal = runner.out / "cases" / "selector-0.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]))
    again = runner.measure(SELECTOR, 0, 4)
    for before, after in zip(whole.cases, again.cases, strict=True):
        assert {name: one.weights for name, one in before.maps.items()} == {
            name: one.weights for name, one in after.maps.items()
        }
        assert before.maps.keys() == after.maps.keys()
        assert all(before.maps[name].truth == after.maps[name].truth for name in before.maps)


def test_fewer_inputs_than_were_measured_are_the_first_of_them(runner: Runner) -> None:
    """What is in the journal does not change what comes out."""
    assert runner.measure(SELECTOR, 0, 2).cases == runner.measure(SELECTOR, 0, 4).cases[:2]


@pytest.mark.parametrize(("fault", "reason"), list(zip(FAULTS, (Reason.NUMERICS, Reason.INSTRUMENT), strict=True)))
def test_under_a_fault_nothing_has_a_flag(runner: Runner, fault: str, reason: Reason) -> None:
    """NaN in the rows, or edits of attention that get lost: every map is INCONCLUSIVE for that reason."""
    found = runner.measure(SELECTOR, 0, 3, fault=fault)
    served = {one.served.reason for case in found.cases for one in case.maps.values() if one.served is not None}
    assert served == {reason}
    assert found.name == f"fault: {fault}"


def test_a_model_that_is_not_what_its_family_claims_is_not_studied(runner: Runner, tmp_path: Path) -> None:
    """Training may fail; such a model would be a wrong entry in the table of truths."""
    runner.measure(SELECTOR, 1, 1)
    record = next(runner.cache.glob("selector/*-1/member.json"))
    told = json.loads(record.read_text())
    told["facts"] = dict.fromkeys(told["facts"], -1.0)
    told["accuracy"] = 0.1
    record.write_text(json.dumps(told))
    elsewhere = Runner(cache=runner.cache, data=None, out=tmp_path, quiet=True)
    with pytest.raises(MissingMemberError, match=r"selector with seed 1 is not one of its family: .* is -1"):
        elsewhere.measure(SELECTOR, 1, 1)


def test_the_command_writes_a_report(runner: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Markdown, JSON and pictures; flags where there must be none are nowhere."""
    arguments = ["--families", "selector,null-space-decoy,constant,one-unit", "--instances", "4", "--seeds", "1"]
    where = ["--out", str(tmp_path), "--cache", str(runner.cache), "--quiet"]
    assert main(["study", "flag", *arguments, *where]) == 0
    assert "Worst family" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["families"]) == {"selector", "null-space-decoy"}
    assert {name: one["not_inconclusive"] for name, one in report["undecidable"].items()} == {
        "constant": 0,
        "one-unit": 0,
    }
    decoy = report["families"]["null-space-decoy"]["maps_of"]["raw_attention"]
    assert decoy["faithful"]["count"] == 0
    page = (tmp_path / "report.md").read_text()
    for name in ("selector", "null-space-decoy", "top_zeroed", "permutation"):
        assert f"| {name} |" in page
    for picture in ("flags-by-family.svg", "alignment-against-truth.svg"):
        assert f"({picture})" in page
        assert (tmp_path / picture).read_text().startswith("<?xml")
    assert main(["study", "flag", *arguments, *where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report


def test_a_report_on_what_is_finished(runner: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Models that were measured to the end are in it, others are not begun; with none there is no report."""
    where = ["--out", str(tmp_path), "--cache", str(runner.cache), "--quiet", "--finished", "--seeds", "2"]
    asked = ["study", "flag", "--families", "selector,one-unit", "--instances"]
    assert main([*asked, "2", *where]) == 2
    assert "no model with 2 inputs has been measured" in capsys.readouterr().err
    replace(runner, out=tmp_path).measure(SELECTOR, 0, 2)
    assert main([*asked, "2", *where]) == 0
    assert [one["seed"] for one in json.loads((tmp_path / "report.json").read_text())["models"]] == [0]
    assert main([*asked, "3", *where]) == 2


def test_what_cannot_be_studied_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A family that does not exist, and families whose data are not there."""
    where = ["--out", str(tmp_path), "--quiet"]
    assert main(["study", "flag", "--families", "nice", *where]) == 2
    assert "no family nice; there are selector" in capsys.readouterr().err
    assert main(["study", "flag", "--families", "trec", *where]) == 2
    told = capsys.readouterr().err
    assert "LEFT OUT, what they need is not there: trec (--data trec)" in told
    assert "no family is left" in told
    assert main(["study", "flag", "--list"]) == 0
    assert "null-space-decoy" in capsys.readouterr().out


def test_the_quick_tier_is_held_against_its_baseline(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same again passes; a baseline that was better fails, with what is worse."""
    arguments = ["study", "flag", "--families", "selector", "--instances", "4", "--seeds", "1", "--check"]
    where = ["--out", str(tmp_path), "--cache", str(runner.cache), "--quiet"]
    kept = tmp_path / "baseline.json"
    monkeypatch.setattr("rollcall.studies.flag.baseline.read_baseline", lambda: json.loads(kept.read_text()))
    kept.write_text(json.dumps({"policy": "", "maps": {}}))
    assert main([*arguments, *where, "--write-baseline", str(kept)]) == 0
    assert main([*arguments, *where]) == 0
    better = json.loads(kept.read_text())
    for one in better["maps"].values():
        one["maps"], one["flags"], one["wrong"] = 4000, 4000, 0
    better["maps"]["selector/effect"] = {"maps": 4, "flags": 4, "wrong": 0}
    kept.write_text(json.dumps(better))
    capsys.readouterr()
    assert main([*arguments, *where]) == 1
    assert "worse than the baseline: selector/effect: not measured" in capsys.readouterr().err
