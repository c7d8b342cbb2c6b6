"""All attention of a 12-layer model on 512 tokens, through a real server and a channel that takes 4 MiB at most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rollcall.demo.server import ServerProcess, server_process
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import MAX_ATTENTION_BYTES, Floats
from rollcall_client import (
    AttentionSelection,
    AttentionTensor,
    CheckLevel,
    Client,
    DataType,
    HeadReduction,
    InvalidArgument,
    MapKind,
    QuerySelection,
    client,
)
from tests.tiny import POSITIONS, Tiny, make_model

LAYERS = HEADS = 12
DEFAULT_BYTES = 4 * 2**20
SECONDS = 120
TEXT = "the film is good but the music did not like me " * 60


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a narrow model with as many layers and heads as BERT-base has."""
    shape: dict[str, Any] = {"hidden_size": 48, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS}
    return make_model("bert", tmp_path_factory.mktemp("large"), **shape)


@pytest.fixture(scope="module")
def large_server(large: Path) -> Iterator[ServerProcess]:
    """Serve it."""
    with server_process("--model", f"large={large}") as process:
        yield process


@pytest.fixture
def limited(large_server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Connect as a client that takes no message of more than gRPC's default."""
    monkeypatch.setattr(client, "_CHANNEL_OPTIONS", (("grpc.max_receive_message_length", DEFAULT_BYTES),))
    with Client(large_server.target, timeout=SECONDS) as opened:
        yield opened


def stream(limited: Client, selection: AttentionSelection) -> AttentionTensor:
    """Ask for attention in a stream; every answer has the flags of the maps that are made of it."""
    explanation = limited.explain_stream(TEXT, attention=selection, level=CheckLevel.NONE)
    assert {a.verdict.flag.name for a in explanation.attributions} == {"NOT_CHECKED"}
    assert {MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT} <= {a.map for a in explanation.attributions}
    assert explanation.tokens_used == POSITIONS
    assert explanation.attention is not None
    return explanation.attention


@pytest.fixture(scope="module")
def stock(large: Path) -> Floats:
    """Attention [L, H, Q, K] as transformers' own eager implementation gives it."""
    tiny = Tiny(family="bert", directory=large)
    ids = tiny.loaded.backend.encode(TextInput(text=TEXT)).input_ids
    with torch.no_grad():
        attentions = tiny.eager(torch.from_numpy(ids)[None], output_attentions=True).attentions
    return np.stack([layer[0].numpy() for layer in attentions])


@pytest.mark.parametrize(
    ("data_type", "tolerance", "size"),
    [(DataType.FLOAT32, 1e-5, 4), (DataType.FLOAT16, 5e-4, 2), (DataType.UINT8, 0.5 / 255 + 1e-5, 1)],
)
def test_all_of_it_arrives_whole(
    limited: Client, stock: Floats, data_type: DataType, tolerance: float, size: int
) -> None:
    """151 MB of float32, or half or a quarter of that, equal the stock model's attention up to storage."""
    found = stream(limited, AttentionSelection(queries=QuerySelection.ALL, data_type=data_type))
    assert found.shape == (LAYERS, HEADS, POSITIONS, POSITIONS)
    assert len(found.data) == size * LAYERS * HEADS * POSITIONS**2 > 8 * DEFAULT_BYTES
    assert np.abs(found.numpy() - stock).max() <= tolerance


def test_a_part_of_it_is_that_part(limited: Client, stock: Floats) -> None:
    """Layers and heads in the order asked for; their mean; the read-out's row alone."""
    part = stream(limited, AttentionSelection(layers=(7, 2), heads=(11, 0, 3), queries=QuerySelection.ALL))
    assert np.abs(part.numpy() - stock[[7, 2]][:, [11, 0, 3]]).max() <= 1e-5
    mean = stream(limited, AttentionSelection(head_reduction=HeadReduction.MEAN, queries=QuerySelection.ALL))
    assert np.abs(mean.numpy() - stock.mean(axis=1, keepdims=True)).max() <= 1e-5
    readout = stream(limited, AttentionSelection(head_reduction=HeadReduction.MAX))
    assert np.abs(readout.numpy() - stock[:, :, :1].max(axis=1, keepdims=True)).max() <= 1e-5


def test_without_a_stream_it_is_refused_with_advice(limited: Client) -> None:
    """What no reply can hold is refused before it is computed, and the refusal names the stream."""
    with pytest.raises(InvalidArgument, match=f"more than {MAX_ATTENTION_BYTES}.*ask ExplainStream"):
        limited.explain(TEXT, attention=AttentionSelection(queries=QuerySelection.ALL))


def test_the_operators_limit_holds(large: Path) -> None:
    """More than `limits.max_attention_bytes` is refused in a stream, too."""
    environment = {"ROLLCALL_LIMITS_MAX_ATTENTION_BYTES": "1000000"}
    with (
        server_process("--model", f"large={large}", environment=environment) as process,
        Client(process.target, timeout=SECONDS) as strict,
        pytest.raises(InvalidArgument, match="more than 1000000"),
    ):
        strict.explain_stream(TEXT, attention=AttentionSelection(queries=QuerySelection.ALL))
