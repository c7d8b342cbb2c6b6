"""The demo model as torch runs it and as an exported file, in one server, asked by the real client."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from rollcall.demo import model_directory
from rollcall.demo.server import server_process
from rollcall.demo.tour import SENTENCES
from rollcall_client import (
    CheckKind,
    CheckLevel,
    CheckOutcome,
    Client,
    Explanation,
    FailedPrecondition,
    Flag,
    MapKind,
    Scope,
)
from rollcall_client.options import AttentionSelection
from tests.exports import export, hide_attention
from tests.recurrents import TEXT, export_network, make_network

CLOSE = 1e-4
MAPS = (MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT, MapKind.NORM_ROLLOUT)
REAL = Path(__file__).parents[3] / "shared" / "data" / "sst2" / "test.tsv"
REAL_INPUTS = 200
FEWER = 30
CALL_SECONDS = 120.0


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server with the same weights twice, without a calibration: with the same widths."""
    root = tmp_path_factory.mktemp("served")
    weights = root / "weights"
    weights.mkdir()
    for part in model_directory().iterdir():
        (weights / part.name).symlink_to(part)
    file = export(weights, root / "exported")
    closed = Path(shutil.copytree(file.parent, root / "closed")) / file.name
    hide_attention(closed)
    pooling = export_network(make_network(), root / "pooling")
    with (
        server_process(
            *("--model", f"torch={weights}", "--model", f"exported={file}"),
            *("--model", f"closed={closed}", "--model", f"pooling={pooling}"),
        ) as server,
        Client(server.target, timeout=CALL_SECONDS) as opened,
    ):
        yield opened


def test_the_reply_names_the_runtime_and_what_it_lacks(client: Client) -> None:
    """Who asks an exported model for everything gets what there is, and for each other map the reason."""
    model = client.model("exported")
    assert model.explainable
    assert model.ref.backend == "onnxruntime"
    assert (model.layers, model.heads) == (3, 4)
    assert MapKind.GRADIENT_ROLLOUT in {missing.map for missing in model.missing_maps}
    explanation = client.explain(SENTENCES[0][1], model="exported", level=CheckLevel.STANDARD)
    assert explanation.model.backend == "onnxruntime"
    assert {each.map for each in explanation.attributions} == set(MAPS)
    reasons = {missing.map: missing.reason for missing in explanation.missing_maps}
    assert reasons[MapKind.GRADIENT_ROLLOUT] == "ONNX Runtime computes no gradients."


def test_thorough_checks_run_but_for_the_adversary(client: Client) -> None:
    """Cutting edges, silencing heads and rewiring need no gradient; searching does, and says so."""
    explanation = client.explain(SENTENCES[3][1], model="exported", level=CheckLevel.THOROUGH)
    checks = [check for check in explanation.primary.verdict.checks if check.kind.thorough]
    (adversary,) = [check for check in checks if check.kind is CheckKind.ADVERSARY]
    assert adversary.outcome is CheckOutcome.SKIPPED
    assert "no gradients" in adversary.detail
    assert not [check for check in checks if check.outcome is CheckOutcome.ERRORED]
    ran = {check.kind for check in checks if check.rows}
    assert {CheckKind.KNOCK_OUT, CheckKind.HEADS, CheckKind.REWIRING_SCOPES, CheckKind.ERASURE} <= ran


@pytest.mark.timeout(900)
def test_torch_and_the_exported_file_say_the_same(client: Client) -> None:
    """Predictions, maps and effects agree, the same words are removed, and every flag is the same, for every reason."""
    flags = set()
    for text in texts():
        ours, theirs = (client.explain(text, model=name, maps=MAPS) for name in ("exported", "torch"))
        assert_same(ours, theirs)
        flags |= {each.verdict.flag for each in ours.attributions}
    assert flags == {Flag.FAITHFUL, Flag.UNFAITHFUL, Flag.INCONCLUSIVE}


def assert_same(ours: Explanation, theirs: Explanation) -> None:
    """Two runtimes' answers about the same weights."""
    assert ours.prediction.probabilities == pytest.approx(theirs.prediction.probabilities, abs=CLOSE)
    assert ours.prediction.margin == pytest.approx(theirs.prediction.margin, abs=CLOSE)
    assert (ours.seed, ours.rows) == (theirs.seed, theirs.rows)
    assert [effect.effect for effect in ours.effects] == pytest.approx([e.effect for e in theirs.effects], abs=CLOSE)
    for one, other in zip(ours.attributions, theirs.attributions, strict=True):
        assert one.map is other.map
        assert one.scores == pytest.approx(other.scores, abs=CLOSE)
        assert (one.verdict.flag, one.verdict.reason) == (other.verdict.flag, other.verdict.reason)
        assert [(w.kind, w.removed_units) for w in one.verdict.witnesses] == [
            (w.kind, w.removed_units) for w in other.verdict.witnesses
        ]


@pytest.mark.parametrize("level", [CheckLevel.STANDARD, CheckLevel.THOROUGH])
def test_a_graph_without_attention_to_be_found_is_explained_by_removals(client: Client, level: CheckLevel) -> None:
    """Its effects are those of the same weights with open attention; the verdict's scope says what it rests on."""
    model = client.model("closed")
    assert (model.explainable, model.scope, model.layers) == (True, Scope.INPUT_ONLY, 0)
    assert CheckKind.REWIRING not in model.checks
    assert any(not test.passed and "no attention was found" in test.detail for test in model.self_tests)
    ours = client.explain(SENTENCES[3][1], model="closed", level=level)
    theirs = client.explain(SENTENCES[3][1], model="exported", maps=[*MAPS, MapKind.EFFECT])
    (only,) = ours.attributions
    assert (only.map, only.verdict.scope) == (MapKind.EFFECT, Scope.INPUT_ONLY)
    assert {missing.map for missing in ours.missing_maps} >= set(MAPS)
    effect = theirs.attribution(MapKind.EFFECT)
    assert effect is not None
    assert only.scores == pytest.approx(effect.scores, abs=CLOSE)
    assert only.verdict.flag is effect.verdict.flag
    outcomes = {check.kind: check.outcome for check in only.verdict.checks}
    assert outcomes[CheckKind.INSTRUMENT] is CheckOutcome.SUPPORTS
    assert outcomes[CheckKind.UNIFORM_ATTENTION] is CheckOutcome.SKIPPED
    assert CheckOutcome.ERRORED not in outcomes.values()
    if level is CheckLevel.THOROUGH:
        assert outcomes[CheckKind.HEADS] is outcomes[CheckKind.KNOCK_OUT] is CheckOutcome.SKIPPED
        assert outcomes[CheckKind.OPERATOR_RULE] is not CheckOutcome.SKIPPED


@pytest.mark.parametrize("level", [CheckLevel.STANDARD, CheckLevel.THOROUGH])
def test_a_recurrent_encoder_is_explained_by_its_one_attention(client: Client, level: CheckLevel) -> None:
    """One layer of one head, one map of it, checked by removals that fit it and by edits of the one attention."""
    model = client.model("pooling")
    assert (model.explainable, model.scope, model.layers, model.heads) == (True, Scope.ALL_LAYERS, 1, 1)
    assert {operator.name for operator in model.operators} == {"MASK_TOKEN", "DELETION"}
    explanation = client.explain(TEXT, model="pooling", level=level)
    (only,) = explanation.attributions
    assert (only.map, only.verdict.scope) == (MapKind.RAW_ATTENTION, Scope.ALL_LAYERS)
    assert sum(only.scores) == pytest.approx(1)
    outcomes = {check.kind: check.outcome for check in only.verdict.checks}
    assert CheckOutcome.ERRORED not in outcomes.values()
    asked = {CheckKind.INSTRUMENT, CheckKind.UNIFORM_ATTENTION, CheckKind.ALIGNMENT}
    assert CheckOutcome.SKIPPED not in {outcomes[kind] for kind in asked}
    assert {CheckKind.REWIRING, CheckKind.ALIGNMENT} <= {check.kind for check in only.verdict.checks if check.rows}
    assert only.verdict.flag is not Flag.NOT_CHECKED
    reasons = {missing.map: missing.reason for missing in explanation.missing_maps}
    assert "sums the states" in reasons[MapKind.ATTENTION_ROLLOUT]


def test_a_graph_without_attention_refuses_what_it_cannot_do(client: Client) -> None:
    """Attention itself, or a map of it as the answer's, is refused with the reason; without checks there are drops."""
    for fields in ({"maps": MAPS}, {"primary_map": MapKind.RAW_ATTENTION}, {"attention": AttentionSelection()}):
        with pytest.raises(FailedPrecondition, match="cannot be opened"):
            client.explain(SENTENCES[0][1], model="closed", **fields)
    plain = client.explain(SENTENCES[0][1], model="closed", level=CheckLevel.NONE)
    assert [each.map for each in plain.attributions] == [MapKind.LEAVE_ONE_OUT]
    assert plain.verdict.flag is Flag.NOT_CHECKED


def texts() -> list[str]:
    """Real sentences where the data are, else made ones."""
    if REAL.is_file():
        with REAL.open(encoding="utf-8") as table:
            rows = csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE)
            return [row["text"] for row in islice(rows, REAL_INPUTS)]
    parts = [(a, b) for _, a in SENTENCES for _, b in SENTENCES]
    return [text for _, text in SENTENCES] + [f"{a} But then: {b}" for a, b in parts][: FEWER - len(SENTENCES)]
