"""The demonstration: a real server, four kinds of sentence through the real client, and its latency metrics."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from rollcall.audit.keys import VERIFIER
from rollcall.audit.verify import verify
from rollcall.demo.server import server_process
from rollcall_client import CheckLevel, Client, Explanation, terminal
from rollcall_client.html import render_page
from rollcall_client.options import AttentionSelection

SENTENCES = (
    ("clearly positive", "A wonderful, moving film with a great cast."),
    ("clearly negative", "The story is dull and the acting is terrible."),
    ("negation", "The movie is not good at all."),
    ("mixed", "The plot is thin, but the actors are charming and I enjoyed every minute."),
)
"""One of each kind; the mixed one is shown whatever the model makes of it."""
LOOKED_AT_CLOSELY = "mixed"
"""The kind that gets thorough checks as well, and with them the most different map with the same prediction."""
THOROUGH_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLatency:
    """One stage as /metrics has it: how often it ran and its mean in seconds."""

    stage: str
    count: int
    mean_seconds: float


def tour(out: Path) -> int:
    """Run the demonstration and write its page into `out`; return the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    color = sys.stdout.isatty()
    width = shutil.get_terminal_size((100, 40)).columns
    print("Starting a Rollcall server with the embedded demo model ...", flush=True)
    records = out / "audit"
    settings = {"ROLLCALL_AUDIT_DIRECTORY": str(records), "ROLLCALL_AUDIT_ORIGIN": "rollcall-demo"}
    with server_process("--demo", environment=settings) as server:
        with Client(server.target) as client:
            model = client.model()
            print(f"Serving {model.ref.name} ({model.family}, {model.ref.digest[:19]}...) at {server.target}\n")
            explanations = [_explain(client, kind, text, color=color, width=width) for kind, text in SENTENCES]
        stages = stage_latencies(server.metrics())
        code = server.stop()
    page = out / "report.html"
    page.write_text(render_page(explanations, title="Rollcall demonstration"), encoding="utf-8")
    print("Latency by stage, from /metrics (rollcall_stage_duration_seconds):")
    for latency in stages:
        print(f"  {latency.stage:<10} {latency.count:>4} times  mean {latency.mean_seconds * 1000:8.1f} ms")
    print(f"\nThe same as a page, with the attention by layer and head: {page}")
    print("\nEach answer left a record, encrypted and in a signed log:")
    print("\n".join(f"  {line}" for line in verify(records, key=None).lines(most=5)))
    record = explanations[-1].audit.record_id if explanations[-1].audit else "ID"
    print(f"  rollcall audit verify {records} --key {records / VERIFIER}")
    print(f"  rollcall audit show {records} {record}")
    print("  rollcall console --demo (or: make console) shows such records in a browser: search, review, verify, erase")
    print("The server stopped cleanly." if code == 0 else f"The server stopped with exit code {code}.")
    return code


def _explain(client: Client, kind: str, text: str, *, color: bool, width: int) -> Explanation:
    print(f"=== {kind} ".ljust(width, "="))
    if kind == LOOKED_AT_CLOSELY:
        print("Looking closely: hundreds of further rows, and counterexamples to every map ...", flush=True)
        explanation = client.explain(
            text, attention=AttentionSelection(), level=CheckLevel.THOROUGH, timeout=THOROUGH_SECONDS
        )
    else:
        explanation = client.explain(text, attention=AttentionSelection())
    print(terminal.render(explanation, color=color, width=width), flush=True)
    return explanation


def stage_latencies(exposition: str) -> list[StageLatency]:
    """Read counts and means of the stages out of a scrape."""
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples if family.name == "rollcall_stage_duration_seconds" else ():
            for suffix, totals in (("_sum", sums), ("_count", counts)):
                if sample.name.endswith(suffix):
                    stage = sample.labels["stage"]
                    totals[stage] = totals.get(stage, 0.0) + sample.value
    return [
        StageLatency(stage=stage, count=int(count), mean_seconds=sums[stage] / count)
        for stage, count in counts.items()
        if count
    ]
