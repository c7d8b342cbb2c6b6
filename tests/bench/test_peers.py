"""The comparison with other tools compares scores before times, and says what it found; peers are not run here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bench.peers import __main__ as command
from tests.bench.peers.environments import Environment, NotBuilt, build, pinned
from tests.bench.peers.measure import Answer, Case, Finding, Per, Side, Work, gap, measure
from tests.bench.peers.ours import Ours, leave_one_out, one_at_a_time
from tests.bench.peers.process import PeerFailed, PeerProcess
from tests.bench.peers.report import Absent, Report
from tests.bench.peers.servers import tree_seconds
from tests.bench.peers.session import Comparison, Session
from tests.bench.peers.vs_ferret import metrics
from tests.bench.results import Origin
from tests.tiny import make_model

ORIGIN = Origin(date="2026-01-01", command="compare", code={"commit": "abc"}, machine={"cores": "2"})


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Ours:
    """A tiny model of ours."""
    return Ours(directory=make_model("bert", tmp_path_factory.mktemp("model"), classes=2))


@pytest.fixture(scope="module")
def case(ours: Ours) -> Case:
    """A text of eight tokens."""
    return ours.cases(8, 1)[0]


def side(name: str, scores: list[float] | None, seconds: float, rows: int = 4) -> Side:
    """Answer always the same."""
    given = None if scores is None else np.array(scores)
    return Side(name=name, run=lambda _: Answer(scores=given, rows=rows, cpu=seconds, wall=2 * seconds))


def work(*candidates: Side, tolerance: float | None = 0.01, per: Per = Per.WORK) -> Work:
    """Work that takes us one second and a peer's defaults three."""
    return Work(
        name="a thing",
        peer="Peer",
        tokens=8,
        ours=side("ours", [1.0, 2.0], 1.0),
        default=side("defaults", [1.0, 2.0], 3.0, rows=8),
        candidates=candidates,
        tolerance=tolerance,
        note="All is the same.",
        per=per,
    )


def timed(work: Work, cases: list[Case], repeats: int) -> Finding:
    """Measure, with all the time that it takes."""
    return measure(work, cases, comparison="peer", repeats=repeats, seconds=60.0)


def found(*findings: Finding, absent: tuple[Absent, ...] = ()) -> Report:
    """Report findings."""
    return Report(origin=ORIGIN, settings={"repeats": 1}, versions={"peer": "1.0"}, findings=findings, absent=absent)


def test_the_fastest_setting_is_the_tuned_one(case: Case) -> None:
    """A peer is shown at its best, not only as it comes."""
    finding = timed(work(side("slow", [1.0, 2.0], 2.0), side("fast", [1.0, 2.001], 0.5)), [case], 3)
    assert finding.tuned is not None
    assert finding.default is not None
    assert (finding.tuned.side, finding.tuned.cpu_ratio.middle) == ("fast", 0.5)
    assert finding.default.cpu_ratio.middle == 3.0
    assert finding.difference == pytest.approx(0.001)
    page = found(finding).as_markdown()
    assert "3.00 [3.00, 3.00]" in page
    assert "Peer, a thing, 8 tokens, fast: 0.50 of our processor time" in page
    assert not found(finding).failed


def test_what_disagrees_is_not_timed(case: Case) -> None:
    """Being fast at something else is no result: a mismatch is shown, and fails the run."""
    finding = timed(work(side("wrong", [1.0, 2.5], 0.5)), [case], 3)
    assert finding.tuned is None
    assert "**MISMATCH** 5.0e-01" in found(finding).as_markdown()
    assert found(finding).failed


@pytest.mark.parametrize("scores", [None, [1.0], [1.0, float("nan")]])
def test_missing_scores_disagree(case: Case, scores: list[float] | None) -> None:
    """Scores that are missing, of another shape or not numbers never agree."""
    assert not timed(work(side("broken", scores, 0.5)), [case], 1).agrees


def test_ratios_can_be_per_row(case: Case) -> None:
    """Where sides run different numbers of rows, a row is compared with a row."""
    finding = timed(work(side("tuned", None, 1.0), tolerance=None, per=Per.ROW), [case], 1)
    assert finding.default is not None
    assert finding.default.cpu_ratio.middle == 1.5
    assert "cost only" in found(finding).as_markdown()


def test_absent_peers_are_named(case: Case) -> None:
    """A peer that cannot be built is reported and fails nothing; one that crashes does; so does an empty run."""
    fine = timed(work(side("fast", [1.0, 2.0], 0.5)), [case], 1)
    unbuilt = Absent(peer="other", reason="no such\npackage", crashed=False)
    report = found(fine, absent=(unbuilt,))
    assert "- other: no such / package" in report.as_markdown()
    assert not report.failed
    assert found(fine, absent=(Absent(peer="other", reason="gone", crashed=True),)).failed
    assert found().failed
    assert json.loads(json.dumps(report.as_json()))["findings"][0]["agrees"]


def test_scores_of_other_shapes_are_far_apart() -> None:
    """There is no agreement between things that cannot be compared."""
    assert gap(np.zeros(2), np.zeros(3)) == float("inf")


def test_our_leave_one_out_is_one_row_each(ours: Ours, case: Case) -> None:
    """Every word is a unit of one token, and its effect is a difference of two rows."""
    effects, rows = leave_one_out(ours, case.encoding)
    assert (len(effects), rows) == (6, 7)
    assert all(case.encoding.tokens_of(removed).sum() == 1 for removed in one_at_a_time(6))
    assert np.abs(effects).max() > 0


def test_our_metrics_are_of_the_map(ours: Ours, case: Case) -> None:
    """Removing everything and keeping everything are among the rows, as ferret has it."""
    scores, rows = metrics(ours, case)
    shares = len({int(share * 6) for share in np.arange(0.1, 1.1, 0.1)} - {0})
    assert rows == 1 + 2 * shares + 6
    assert np.isfinite(scores).all()
    assert -1 <= scores[2] <= 1


def test_environments_share_our_versions() -> None:
    """Peers compute with the torch that we are tested with."""
    assert {line.partition("==")[0] for line in pinned()} >= {"torch", "transformers", "numpy"}


def test_what_pip_said_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that cannot be built says why, and leaves nothing that looks built."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(NotBuilt, match="torch"):
        build(Environment(name="nothing", packages=("no-such-package",)), tmp_path)
    assert not (tmp_path / "base" / "built.json").exists()


def test_a_peer_that_ends_is_reported(tmp_path: Path) -> None:
    """A peer that crashes is told from one that answers, with the end of its log."""
    with (
        PeerProcess(Path(sys.executable), "no_such_peer", tmp_path) as peer,
        pytest.raises(PeerFailed, match="no_such_peer"),
    ):
        peer.ask("anything")


def test_processor_time_of_a_process() -> None:
    """Time spent is seen from outside, and a process that is gone has spent nothing."""
    assert tree_seconds(1 << 30) == 0
    assert tree_seconds(int(Path("/proc/self").resolve().name)) > 0


def test_a_piece_of_work_takes_no_longer_than_it_may(case: Case) -> None:
    """Repeats end when the time is up, never before the first; the page tells how many there were."""
    readings = iter([0.0, 5.0, 11.0])
    finding = measure(
        work(side("fast", [1.0, 2.0], 0.5)),
        [case],
        comparison="peer",
        repeats=9,
        seconds=10.0,
        clock=lambda: next(readings),
    )
    assert finding.times == 2
    assert "| Peer | a thing | 8 | 2 |" in found(finding).as_markdown()


def rival(name: str, *outcomes: Work | Exception) -> Comparison:
    """Compare with a peer that gives one outcome after the other."""

    def run(session: Session) -> Iterator[Finding]:
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            session.versions[name] = "1.0"
            yield session.measure(outcome, session.cases(8))

    return Comparison(environment=Environment(name=name, packages=()), packages=(), run=run)


@pytest.fixture
def session(ours: Ours, tmp_path: Path) -> Callable[[str], Session]:
    """Begin a comparison that has ten seconds, by a clock that moves four at each reading."""

    def begin(name: str) -> Session:
        readings = iter(range(0, 100, 4))
        return Session(
            name=name,
            ours=ours,
            work=tmp_path,
            lengths=(8,),
            texts=1,
            repeats=1,
            seconds=60.0,
            until=10.0,
            log=lambda _: None,
            clock=lambda: float(next(readings)),
        )

    return begin


def test_what_was_found_is_told_piece_by_piece(session: Callable[[str], Session]) -> None:
    """A run that is cut loses one piece of work at most; a peer that fails or takes too long keeps what it gave."""
    fine = work(side("fast", [1.0, 2.0], 0.5))
    rivals = {
        "crashing": rival("crashing", fine, PeerFailed("gone")),
        "slow": rival("slow", *[fine] * 4),
        "unbuilt": rival("unbuilt", NotBuilt("no such package")),
    }
    states = list(command.compare(found(), rivals, session))
    assert [len(state.findings) for state in states] == [1, 1, 2, 3, 4, 4, 4]
    assert states[0].finished == ()
    assert states[-1].finished == ("crashing", "slow", "unbuilt")
    assert [(each.peer, each.crashed) for each in states[-1].absent] == [
        ("crashing", True),
        ("slow", False),
        ("unbuilt", False),
    ]
    assert states[-1].versions == {"peer": "1.0", "crashing": "1.0", "slow": "1.0"}
    assert "- slow: no time was left for a thing, 8 tokens" in states[-1].as_markdown()


def test_a_run_that_was_cut_goes_on(session: Callable[[str], Session]) -> None:
    """Finished peers are kept as they were, the one that was cut begins again."""
    fine = work(side("fast", [1.0, 2.0], 0.5))
    rivals = {"first": rival("first", fine, PeerFailed("gone")), "second": rival("second", fine, fine)}
    cut = list(command.compare(found(), rivals, session))[2]  # in the middle of the second
    written = json.loads(json.dumps({"origin": asdict(ORIGIN), **cut.as_json()}))
    resumed = found().resumed(written)
    assert resumed.finished == ("first",)
    assert resumed.findings == cut.findings[:1]
    assert resumed.absent == cut.absent
    assert [each.comparison for each in cut.findings] == ["first", "second"]


@pytest.mark.parametrize("other", [{"origin": {"code": {"commit": "def"}}}, {"settings": {"repeats": 2}}])
def test_runs_of_other_code_or_settings_are_not_continued(case: Case, other: dict[str, Any]) -> None:
    """Numbers in one table were measured alike."""
    report = found(timed(work(side("fast", [1.0, 2.0], 0.5)), [case], 1))
    written: dict[str, Any] = {"origin": asdict(ORIGIN), **report.as_json(), "finished": ["peer"]}
    assert found().resumed(written).findings
    changed = {name: {**written[name], **fields} for name, fields in other.items()}
    assert found().resumed(written | changed) == found()
