"""Architectures that are more than BERT in other words, through a real server and client, looked at closely.

The models are tiny and random: what is asked is whether every map and every check comes through.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import CheckLevel, CheckOutcome, Client, Explanation, Flag, MapKind, Scope
from tests.decoders import make_decoder, tokens_of
from tests.integration.conftest import CALL_SECONDS
from tests.pictures import SIDE, make_vision_model, png
from tests.tiny import OTHERS, TEXT, make_model

PROMPTS = ("gemma2", "gemma3_text")
PROMPT = "the film is a quiet triumph and I loved every minute of it"
NEVER = {CheckOutcome.ERRORED, CheckOutcome.UNSPECIFIED}
ROWS = 400


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of each."""
    root = tmp_path_factory.mktemp("families")
    readers = {name: make_model(name, root / name) for name in OTHERS}
    readers["clip"] = make_vision_model("clip", root / "clip")
    return readers | {name: make_decoder(name, root / name) for name in PROMPTS}


@pytest.fixture(scope="module")
def process(directories: dict[str, Path]) -> Iterator[ServerProcess]:
    """Serve all of them."""
    models = [part for name, path in directories.items() for part in ("--model", f"{name}={path}")]
    asked = {f"ROLLCALL_MODELS_{name.upper().replace('-', '_')}_TOKENS": ",".join(tokens_of(name)) for name in PROMPTS}
    with server_process(*models, environment={**asked, "ROLLCALL_DEFAULT_MODEL": OTHERS[0]}) as served:
        yield served


@pytest.fixture
def client(process: ServerProcess) -> Iterator[Client]:
    """Talk to the server."""
    with Client(process.target, timeout=CALL_SECONDS) as opened:
        yield opened


def closely(client: Client, family: str, text: str, pair: str | None = None) -> Explanation:
    """Every map that the model has, and thorough checks; each of them came to a result."""
    maps = client.model(family).maps
    found = client.explain(text, text_pair=pair, model=family, maps=maps, level=CheckLevel.THOROUGH, max_rows=ROWS)
    assert {each.map for each in found.attributions} == set(maps)
    assert found.missing_maps == ()
    for each in found.attributions:
        assert each.verdict.flag is not Flag.NOT_CHECKED
        assert np.isfinite(each.scores).all()
        assert not {check.outcome for check in each.verdict.checks} & NEVER
    return found


@pytest.mark.parametrize("family", OTHERS)
@pytest.mark.parametrize("pair", [None, "the music is wonderful"])
def test_a_reader_is_explained(client: Client, directories: dict[str, Path], family: str, pair: str | None) -> None:
    """The prediction is the stock library's, and all of the model's maps have a verdict."""
    found = closely(client, family, TEXT, pair)
    read = AutoTokenizer.from_pretrained(directories[family])(TEXT, pair, return_tensors="pt")
    stock = AutoModelForSequenceClassification.from_pretrained(directories[family])
    with torch.no_grad():
        expected = stock(**read).logits[0].double().softmax(dim=-1).numpy()
    np.testing.assert_allclose(found.prediction.probabilities, expected, atol=1e-6)
    assert (MapKind.DECOMPOSITION in client.model(family).maps) == (family != "modernbert")


@pytest.mark.parametrize("family", PROMPTS)
def test_a_prompt_is_explained(client: Client, family: str) -> None:
    """All maps of the next token have a verdict."""
    found = closely(client, family, PROMPT)
    assert len(found.units) == len(PROMPT.split())


def test_a_picture_is_explained_where_no_token_is_read(client: Client) -> None:
    """CLIP reads the mean of all patches: the answer rests on removals, and the maps that are not made are named."""
    model = client.model("clip")
    assert model.scope is Scope.INPUT_ONLY
    assert {each.map for each in model.missing_maps} >= {MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT}
    picture = png(np.random.default_rng(0).integers(0, 255, size=(SIDE, SIDE, 3)))
    found = client.explain_image(picture, model="clip")
    assert [each.map for each in found.attributions] == [MapKind.EFFECT]
    assert found.verdict.scope is Scope.INPUT_ONLY
    found = client.explain_image(picture, model="clip", maps=model.maps)
    assert {each.map for each in found.attributions} == set(model.maps)
    assert all(each.verdict.flag is not Flag.NOT_CHECKED for each in found.attributions)
