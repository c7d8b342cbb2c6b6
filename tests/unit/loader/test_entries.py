"""What an operator says of a model, in what is served of it; what its files do is blamed on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import TextInput
from rollcall.loader import load_spec, prove
from rollcall.settings import LimitSettings, read_model
from tests.tiny import TEXT, make_model


class Panic(BaseException):
    """As what a tokenizer raises whose own language panics: no Exception."""


@pytest.mark.parametrize(
    "error", [ValueError("no such size"), torch.OutOfMemoryError("too large"), AttributeError("no field"), Panic("oh")]
)
@pytest.mark.parametrize("place", ["AutoTokenizer.from_pretrained", "TorchBackend.self_test"])
def test_whatever_a_model_does_while_it_is_built_is_blamed_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, place: str
) -> None:
    """A panic, too: nothing that files do ends the thread that builds them, and the message says what it was."""
    directory = make_model("bert", tmp_path / "1")
    (directory / "model.toml").write_text("")

    def fails(*_: object, **__: object) -> object:
        raise error

    monkeypatch.setattr(f"rollcall.models.loading.{place}", fails)
    spec = read_model(directory / "model.toml", name="reviews", revision="1")
    with pytest.raises(ModelRejected, match=type(error).__name__):
        load_spec(spec, LimitSettings())


def test_a_model_may_have_its_own_number_of_units(tmp_path: Path) -> None:
    """Words are grouped as its own file says, and GetModel tells it; other models keep to the limits of the server."""
    directory = make_model("bert", tmp_path / "1")
    for told, expected in (("max_units = 5\n", 5), ("", 9)):
        (directory / "model.toml").write_text(told)
        spec = read_model(directory / "model.toml", name="reviews", revision="1")
        entry = prove(spec, LimitSettings(max_units=9))
        assert entry.card.max_units == expected
        model = load_spec(spec, LimitSettings(max_units=9))
        encoding = model.backend.encode(TextInput(text=TEXT))
        assert encoding.grouped
        assert len(encoding.units) <= expected
