"""Every answer is checked again on the real demo model, and what comes of it is told, exposed and kept."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import Client, Flag, MapKind, ModelRecord

TEXTS = (
    "A wonderful, moving film with a great cast.",
    "The plot is thin, but the actors are charming.",
    "Dull, slow and far too long.",
    "I laughed all evening and would watch it again.",
    "The worst script of the year, badly acted and badly shot.",
    "What a lovely surprise this little comedy turned out to be.",
)
DECIDED = (Flag.FAITHFUL, Flag.UNFAITHFUL)
PATIENCE_SECONDS = 120.0


def record_of(client: Client) -> ModelRecord:
    """The demo model's record."""
    (model,) = client.models()
    assert model.record is not None
    return model.record


def wait_until_checked(server: ServerProcess, count: int) -> None:
    """Wait until so many answers have been checked again."""
    until = time.monotonic() + PATIENCE_SECONDS
    while f'rollcall_rechecks_total{{outcome="done"}} {float(count)}' not in server.metrics():
        assert time.monotonic() < until, "the answers were not checked again in time"
        time.sleep(0.2)


def test_answers_are_checked_again_pooled_and_kept(tmp_path: Path) -> None:
    """Six answers, one of them asked for twice: six rechecks, six requests in the record, and a restart keeps both."""
    environment = {"ROLLCALL_EXPLAIN_RECHECK_SHARE": "1", "ROLLCALL_STATE_DIRECTORY": str(tmp_path / "state")}
    with server_process("--demo", environment=environment) as server, Client(server.target, timeout=120) as client:
        answers = [client.explain(text) for text in (*TEXTS, TEXTS[0])]
        distinct = answers[: len(TEXTS)]
        wait_until_checked(server, len(TEXTS))
        record, exposed, log = record_of(client), server.metrics(), server.log.read_text()
        assert server.stop() == 0
    shown = {found.map: found for found in record.maps}
    assert set(shown) == {a.map for a in answers[0].attributions}
    for kind, found in shown.items():
        verdicts = [one.verdict for answer in distinct for one in answer.attributions if one.map is kind]
        assert found.requests == len(TEXTS)
        assert found.flags == {flag: n for flag in Flag if (n := sum(v.flag is flag for v in verdicts))}
        values = [v.alignment.value for v in verdicts if v.alignment]
        assert found.mean_alignment is not None
        assert math.isclose(found.mean_alignment, sum(values) / len(values), abs_tol=1e-9)
        again = {one.flag: one for one in found.rechecked}
        assert {flag: one.rechecked for flag, one in again.items()} == {
            flag: n for flag in DECIDED if (n := found.flags.get(flag, 0))
        }
        assert all(0 <= one.lower <= one.wrong / one.rechecked <= one.upper <= 1 for one in again.values())
    assert shown[MapKind.GRADIENT_ROLLOUT].log_e_value > 0
    assert record.promise is not None
    assert (record.promise.alpha, record.promise.answers) == (0.05, len(TEXTS))
    assert 'rollcall_promise_broken{model="demo"} ' in exposed
    assert f'rollcall_pooled_requests{{map="gradient_rollout",model="demo"}} {float(len(TEXTS))}' in exposed
    rechecked = re.findall(r"^rollcall_rechecked_flags_total\{.*\} (\S+)$", exposed, flags=re.MULTILINE)
    assert sum(map(float, rechecked)) == sum(one.rechecked for found in record.maps for one in found.rechecked)
    state = (tmp_path / "state" / "records.json").read_text()
    for word in ("wonderful", "charming", "laughed", "comedy"):
        assert word not in log + exposed + state
    with server_process("--demo", environment=environment) as server, Client(server.target, timeout=120) as client:
        assert record_of(client) == record


def test_a_stop_waits_for_no_recheck_and_a_broken_state_for_nobody(tmp_path: Path) -> None:
    """A server with all its rechecks still to do stops at once; a state that is no state is put aside and said."""
    (tmp_path / "records.json").write_text("not ours")
    environment = {"ROLLCALL_EXPLAIN_RECHECK_SHARE": "1", "ROLLCALL_STATE_DIRECTORY": str(tmp_path)}
    with server_process("--demo", environment=environment) as server, Client(server.target, timeout=120) as client:
        for text in TEXTS:
            client.explain(f"{text} {text}")
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 15
        assert '"event": "records_refused"' in server.log.read_text()
    assert (tmp_path / "records.json.refused").read_text() == "not ours"
    kept = json.loads((tmp_path / "records.json").read_text())
    assert kept["models"]["demo"]["maps"]["raw_attention"]["flags"]


def test_nothing_is_checked_again_where_it_is_switched_off() -> None:
    """A share of 0 costs nothing and still pools."""
    with (
        server_process("--demo", environment={"ROLLCALL_EXPLAIN_RECHECK_SHARE": "0"}) as server,
        Client(server.target, timeout=120) as client,
    ):
        client.explain(TEXTS[0])
        time.sleep(0.5)
        exposed = server.metrics()
        record = record_of(client)
    assert re.findall(r"^rollcall_rechecks_total\{.*\} (\S+)$", exposed, flags=re.MULTILINE) == ["0.0"] * 3
    assert "rollcall_rechecks_pending 0.0" in exposed
    assert all(found.requests == 1 and found.rechecked == () for found in record.maps)
