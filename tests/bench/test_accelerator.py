"""The benchmark of accelerators runs on a processor, too, and its page holds what it promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertForSequenceClassification

from rollcall.demo import model_directory
from tests.bench.accelerator import __main__ as command
from tests.bench.accelerator.grown import grow, reviews
from tests.bench.results import RESULTS


def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Latency, throughput of one process and of two, and every self-test are on the page; numbers lie beside it."""
    before = sorted(RESULTS.iterdir())
    told = ["--out", str(tmp_path / "page.md"), "--json", str(tmp_path / "page.json")]
    quick = ["--device", "cpu", "--dtype", "float32", "--models", "tiny", "--quick"]
    assert command.main([*quick, "--anew", *told]) == 0
    assert sorted(RESULTS.iterdir()) == before
    page = capsys.readouterr().out
    assert page.startswith((tmp_path / "page.md").read_text())
    assert "|  | tiny, float32 |" in page
    assert "| own_map_reproduces | passed" in page
    (found,) = json.loads((tmp_path / "page.json").read_text())["found"]
    assert found["rows"] > 30
    assert sum(found["flags"].values()) == pytest.approx(1)
    assert set(found["stages_ms"]) == {"encode", "capture", "look", "witness", "decide"}
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert [(each["processes"], each["callers"]) for each in found["saturated"]] == [(1, 2), (2, 8)]
    assert all(each["rows_per_second"] > each["explanations_per_second"] > 0 for each in found["saturated"])
    assert found["kernels"] == []  # no device beside the processor


def test_the_demo_model_grown_to_the_size_of_bert_base_answers_as_it_does(tmp_path: Path) -> None:
    """Hardly a logit is a fifth apart where they are far apart themselves; texts are as long as they are asked."""
    small, large = model_directory(), grow(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(large)
    texts = [reviews(tokenizer, 24, seed) for seed in range(40)]
    batch = tokenizer(texts, return_tensors="pt")
    assert batch["input_ids"].shape == (40, 24)
    models = [BertForSequenceClassification.from_pretrained(each, dtype=torch.float32) for each in (small, large)]
    assert sum(weight.numel() for weight in models[1].bert.encoder.parameters()) == 12 * 7_087_872  # BERT-base's
    with torch.no_grad():
        expected, found = (model.train(mode=False)(**batch).logits for model in models)
    assert expected.std() > 1
    assert (found - expected).abs().max() < 0.2


def test_help_says_what_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help names every option."""
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert {"--device", "--dtype", "--models", "--processes", "--anew"} <= set(capsys.readouterr().out.split())
