"""The main job, end to end, over gRPC."""

from __future__ import annotations

import asyncio
import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from rollcall.demo.server import ServerProcess
from rollcall.demo.tour import SENTENCES, stage_latencies
from rollcall_client import (
    AsyncClient,
    CheckKind,
    CheckLevel,
    CheckOutcome,
    Client,
    Explanation,
    Flag,
    MapKind,
    Progress,
    QuerySelection,
    Reason,
)
from rollcall_client.options import AttentionSelection, RawAttentionOptions, RolloutOptions, Threshold

SENTENCE = "The story is dull, but the actors are charming and I loved the ending."
VOLATILE = ("explanation_id", "request_id", "timing")


def lasting(explanation: Explanation) -> dict[str, object]:
    """Everything of an explanation that must not depend on when and beside what it was made."""
    return {name: value for name, value in explanation.to_dict().items() if name not in VOLATILE}


def test_a_real_sentence_is_explained_with_a_flag_per_map(client: Client) -> None:
    """A caller gets prediction, units, maps, effects and a verdict with its evidence for every map."""
    explanation = client.explain(SENTENCE)
    assert explanation.model.name == "demo"
    assert sum(explanation.prediction.probabilities) == pytest.approx(1)
    assert [unit.text for unit in explanation.units][:4] == ["The", "story", "is", "dull"]
    assert {attribution.map for attribution in explanation.attributions} == {
        MapKind.RAW_ATTENTION,
        MapKind.ATTENTION_ROLLOUT,
        MapKind.NORM_ROLLOUT,
        MapKind.GRADIENT_ROLLOUT,
    }
    for attribution in explanation.attributions:
        assert sum(attribution.scores) == pytest.approx(1)
        assert min(attribution.scores) >= 0
        assert attribution.verdict.flag in {Flag.FAITHFUL, Flag.UNFAITHFUL, Flag.INCONCLUSIVE}
        assert (attribution.verdict.reason is Reason.UNSPECIFIED) == (attribution.verdict.flag is not Flag.INCONCLUSIVE)
        assert len(attribution.verdict.checks) == 9
        assert attribution.verdict.thresholds["alignment_threshold"] == 0.5
    assert len(explanation.effects) == len(explanation.units)
    assert 30 <= explanation.rows <= 122
    assert explanation.timing.total_seconds > 0


def test_thorough_checks_are_numbers_beside_the_same_flags(client: Client) -> None:
    """A caller who looks closely hears of progress, and gets the same flags with numbers and an adversary's map."""
    heard: list[Progress] = []
    close = client.explain_stream(SENTENCE, progress=heard.append, level=CheckLevel.THOROUGH)
    plain = client.explain(SENTENCE)
    assert close.verdict.flag is plain.verdict.flag
    assert close.verdict.alignment == plain.verdict.alignment
    assert heard[-1].rows <= close.rows <= 2048
    assert heard[-1].stage == "thorough"
    assert close.thorough_policy is not None
    assert plain.thorough_policy is None
    for attribution in close.attributions:
        found = [check for check in attribution.verdict.checks if check.kind.thorough]
        assert {check.kind for check in found} == {kind for kind in CheckKind if kind.thorough}
        assert not any(check.outcome is CheckOutcome.ERRORED for check in found)
    raw = close.attribution(MapKind.RAW_ATTENTION)
    assert raw is not None
    (rival,) = [witness for witness in raw.verdict.witnesses if witness.kind is CheckKind.ADVERSARY]
    assert rival.tvd is not None
    assert rival.tvd <= close.thorough_policy.thresholds["adversary_tvd"]
    assert rival.jsd is not None
    assert rival.jsd > 0.3
    assert sum(rival.map) == pytest.approx(1)


def test_every_known_sentence_of_the_demonstration_is_classified_as_a_reader_would(client: Client) -> None:
    """The clear sentences of the demonstration get the answer that people expect."""
    expected = {"clearly positive": "positive", "clearly negative": "negative", "negation": "negative"}
    answers = {kind: client.predict(text).prediction.predicted for kind, text in SENTENCES if kind in expected}
    assert answers == expected


def test_predict_and_explain_agree(client: Client) -> None:
    """The prediction of an explanation is the prediction."""
    predicted = client.predict(SENTENCE).prediction
    explained = client.explain(SENTENCE, level=CheckLevel.NONE).prediction
    assert predicted == explained


def test_without_checks_every_flag_is_not_checked(client: Client) -> None:
    """A map that was not checked says so, and costs one row."""
    explanation = client.explain(SENTENCE, level=CheckLevel.NONE)
    assert {a.verdict.flag for a in explanation.attributions} == {Flag.NOT_CHECKED}
    assert explanation.recommended_map is MapKind.UNSPECIFIED
    assert explanation.rows == 1


def test_same_request_same_verdict_alone_and_among_32_others(server: ServerProcess, client: Client) -> None:
    """What shares the device with a request changes nothing of its answer."""
    alone = lasting(client.explain(SENTENCE))

    async def crowd() -> list[Explanation]:
        async with AsyncClient(server.target, timeout=120) as many:
            others = [many.explain(f"Number {i} is a {'great' if i % 2 else 'terrible'} film.") for i in range(32)]
            same = [many.explain(SENTENCE) for _ in range(2)]
            answers = await asyncio.gather(*others[:16], *same, *others[16:])
            return list(answers[16:18])

    assert [lasting(answer) for answer in asyncio.run(crowd())] == [alone, alone]


def test_a_seed_repeats_and_another_seed_draws_other_sets(client: Client) -> None:
    """An auditor can replay a verdict with its seed."""
    first, again, other = (client.explain(SENTENCE, seed=seed) for seed in (7, 7, 8))
    assert lasting(first) == lasting(again)
    assert first.seed == 7
    assert first.effects != other.effects


def test_effects_sum_to_what_removing_everything_does(client: Client) -> None:
    """Effects are efficient: together they are the margin less the margin without any word."""
    explanation = client.explain("A wonderful and moving film.")
    reach = next(c for c in explanation.verdict.checks if c.kind.name == "REACH")
    total = sum(effect.effect for effect in explanation.effects)
    assert reach.value is not None
    assert abs(total) <= reach.value * abs(explanation.prediction.margin) + 1e-9


def test_models_of_other_families_are_served_beside_the_demo(client: Client) -> None:
    """Several models run at once; each is named and explained by itself, text pairs included."""
    assert [model.ref.name for model in client.models()] == ["demo", "distilbert", "roberta"]
    explanation = client.explain("I did not like the film", text_pair="but the music is wonderful", model="roberta")
    assert explanation.model.name == "roberta"
    assert {unit.segment for unit in explanation.units} == {0, 1}
    described = client.model("distilbert")
    assert described.explainable
    assert len(described.self_tests) == 16
    assert client.model().is_default


def test_token_ids_are_explained_as_they_are(client: Client) -> None:
    """A caller who tokenises gets units that are the tokens."""
    explanation = client.explain_tokens([2, 100, 200, 300, 3])
    assert [(unit.token_start, unit.token_end) for unit in explanation.units] == [(1, 2), (2, 3), (3, 4)]


def test_targets_foils_and_thresholds(client: Client) -> None:
    """The margin speaks for what was asked: another class, a contrast, a decision rule."""
    plain = client.predict(SENTENCE).prediction
    other = "positive" if plain.predicted == "negative" else "negative"
    assert client.predict(SENTENCE, target=other).prediction.margin == pytest.approx(-plain.margin)
    assert client.predict(SENTENCE, target=other, foil=plain.predicted).prediction.margin == pytest.approx(
        -plain.margin
    )
    ruled = client.predict(SENTENCE, threshold=Threshold(label=plain.predicted, probability=0.999999)).prediction
    assert ruled.threshold_met is False
    assert ruled.target_negated
    assert ruled.margin == pytest.approx(math.log(0.999999 / 0.000001) - plain.margin, rel=1e-6)


def test_map_options_change_the_maps_they_are_about(client: Client) -> None:
    """Layers, heads and the first layer of the rollout can be chosen."""
    plain = client.explain(SENTENCE, level=CheckLevel.NONE)
    chosen = client.explain(
        SENTENCE,
        level=CheckLevel.NONE,
        raw_attention=RawAttentionOptions(layers=(0,), heads=(1, 2)),
        rollout=RolloutOptions(start_layer=2),
    )
    for kind in (MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT):
        before, after = plain.attribution(kind), chosen.attribution(kind)
        assert before is not None
        assert after is not None
        assert before.scores != after.scores
    assert plain.attribution(MapKind.NORM_ROLLOUT) == chosen.attribution(MapKind.NORM_ROLLOUT)


def test_attention_itself_comes_when_asked_for(client: Client) -> None:
    """The full attention of selected layers arrives as rows that sum to one."""
    selection = AttentionSelection(layers=(0, 2), queries=QuerySelection.ALL)
    explanation = client.explain(SENTENCE, level=CheckLevel.NONE, attention=selection)
    assert explanation.attention is not None
    values = explanation.attention.numpy()
    length = explanation.tokens_used
    assert values.shape == (2, 4, length, length)
    assert values.sum(axis=-1) == pytest.approx(1, abs=1e-5)


def test_too_few_rows_are_inconclusive_not_an_error(client: Client) -> None:
    """A small budget gives an honest BUDGET."""
    explanation = client.explain(SENTENCE, max_rows=10)
    assert explanation.flag is Flag.INCONCLUSIVE
    assert explanation.reason is Reason.BUDGET
    assert explanation.rows <= 10


def test_a_reported_label_that_differs_is_marked(client: Client) -> None:
    """A caller learns that it acted on another answer than this model's."""
    label = client.predict(SENTENCE).prediction.predicted
    other = "positive" if label == "negative" else "negative"
    assert not client.explain(SENTENCE, level=CheckLevel.NONE, reported_label=label).reported_mismatch
    assert client.explain(SENTENCE, level=CheckLevel.NONE, reported_label=other).reported_mismatch
    assert client.explain(SENTENCE, level=CheckLevel.NONE, reported_label=label, reported_score=0.01).reported_mismatch


def test_long_texts_are_cut_and_grouped_and_say_so(client: Client) -> None:
    """Nothing is dropped in silence: truncation and grouping are reported."""
    explanation = client.explain("a good film " * 400, level=CheckLevel.NONE)
    assert explanation.truncated
    assert explanation.tokens_total > explanation.tokens_used
    assert explanation.units_grouped
    assert len(explanation.units) <= 64


def test_latency_metrics_tell_of_the_request(server: ServerProcess, client: Client) -> None:
    """An SRE sees each stage of an explanation in /metrics."""
    client.explain(SENTENCE)
    stages = {latency.stage: latency for latency in stage_latencies(server.metrics())}
    for stage in ("encode", "capture", "look", "witness", "decide", "serialize"):
        assert stages[stage].count > 0
        assert stages[stage].mean_seconds >= 0


def test_json_is_complete_and_plain(client: Client) -> None:
    """An explanation survives a round trip through JSON."""
    document = client.explain(SENTENCE).to_dict()
    assert json.loads(json.dumps(document)) == document


def test_many_threads_share_one_client(client: Client) -> None:
    """A product backend with threads needs one client."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.predict(SENTENCE).prediction.margin, range(24)))
    assert max(answers) - min(answers) <= 1e-5  # whoever shares a batch may change the last digits of a prediction
