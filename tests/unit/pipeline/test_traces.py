"""What a request does is spanned stage by stage, and nothing is where nobody traces."""

from __future__ import annotations

import subprocess
import sys

from rollcall.domain.explanation import Explanation
from rollcall.domain.verdicts import CheckLevel
from rollcall.telemetry.traces import OFF
from tests.harness import ask, serving
from tests.spans import SAMPLED, kept
from tests.tiny import TEXT, Tiny


def test_an_explanation_is_its_stages(bert: Tiny) -> None:
    """Encoding, capture, looks, witnesses and the decision, each with its turns on the device and what they waited."""
    traced = kept()
    with serving(bert.loaded, spans=traced.spans) as harness:

        async def explained() -> Explanation:
            call = traced.spans.call("service", "Explain", dict([SAMPLED]))
            answer = await harness.pipeline.explain(ask(TEXT, seed=1))
            call.end(code=0)
            return answer

        answer = harness.runner.run(explained())
    (root,) = (span for span in traced.ended if span.name == "service/Explain")
    turns: dict[str, object] = {"device": {"queue": {}}}
    tree = traced.tree(root)
    assert tree == {"encode": {}, "capture": turns, "look": turns, **_witness(tree), "decide": {}}
    turned = [span.attributes for span in traced.ended if span.name == "device" and span.attributes]
    assert sum(int(str(attributes["rollcall.rows"])) for attributes in turned) == answer.rows
    for span in traced.ended:
        parent = next(
            (each for each in traced.ended if span.parent and each.context.span_id == span.parent.span_id), None
        )
        assert parent is None or (parent.start_time or 0) <= (span.start_time or 0) <= (span.end_time or 0)


def _witness(tree: dict[str, object]) -> dict[str, object]:
    """Witnesses take turns where there are any to look for."""
    assert tree["witness"] in ({}, {"device": {"queue": {}}})
    return {"witness": tree["witness"]}


def test_work_that_nobody_asked_for_has_no_spans(bert: Tiny) -> None:
    """Without a call that is traced, nothing of what runs is."""
    traced = kept()
    with serving(bert.loaded, spans=traced.spans) as harness:
        harness.explain(ask(TEXT, check_level=CheckLevel.NONE))
    assert traced.ended == ()


def test_traces_that_are_off_cost_nothing() -> None:
    """The same empty stage for everybody, and OpenTelemetry is not even imported."""
    assert OFF.stage("a", rows=1) is OFF.stage("b")
    assert OFF.call("service", "method", {}) is OFF.one("method")
    assert OFF.trace_id() == ""
    check = "import rollcall.app, sys; assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=120)
