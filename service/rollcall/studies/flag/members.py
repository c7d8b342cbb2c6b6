"""The families by name, and the models that were built of them, kept on disk by digest of their recipe."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rollcall.domain.inputs import ImageInput, ModelInput, TextInput
from rollcall.studies.flag.families import pairs, pictures, planted, pretrained, prompts, tuned, unopened, written
from rollcall.studies.flag.families.base import Family, Member

_SOURCES: Final = (written, planted, tuned, pretrained, pictures, prompts, pairs, unopened)
FAMILIES: Final[tuple[Family, ...]] = tuple(
    sorted((family for source in _SOURCES for family in source.FAMILIES), key=lambda family: not family.quick)
)
"""The quick tier first."""

LEAST_INPUTS: Final = 256
"""So many inputs are kept with every model, so that asking for a few more does not build it anew."""

_MODEL, _RECORD = "model", "member.json"


def member(family: Family, *, seed: int, inputs: int, data: Path | None, cache: Path) -> Member:
    """The family's model of this seed with its first `inputs` inputs, from `cache` where it was built from the same.

    `data` is the directory of the family's data set; ValueError where it is needed and missing. A model appears in the
    cache whole or not at all, also where two processes build the same one.
    """
    if family.data is not None and data is None:
        message = f"family {family.name} needs the directory of the data set {family.data}"
        raise ValueError(message)
    kept = cache / family.name / f"{_digest(family, data)}-{seed}"
    found = _stored(kept, inputs)
    if found is None:
        asked = max(inputs, LEAST_INPUTS)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".building-") as scratch:
            work = Path(scratch) / "whole"
            built = family.build(seed, asked, data, work / _MODEL)
            (work / _RECORD).write_text(json.dumps(_record(built, asked), ensure_ascii=False), encoding="utf-8")
            _put(work, kept, inputs)
        found = _stored(kept, inputs)
        assert found is not None
    return found


def _digest(family: Family, data: Path | None) -> str:
    """The recipe's digest; where the family learns from files, one over these as well."""
    if family.data is None or data is None:
        return family.digest
    whole = hashlib.sha256(family.digest.encode())
    for path in sorted(data.glob("*.tsv")):
        whole.update(path.name.encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[: len(family.digest)]


def _put(work: Path, kept: Path, inputs: int) -> None:
    """Move a finished model to its place, unless another process was faster; one with too few inputs makes way."""
    if kept.exists() and _stored(kept, inputs) is None:
        shutil.rmtree(kept)
    try:
        work.rename(kept)
    except OSError:
        if _stored(kept, inputs) is None:
            raise


def _record(built: Member, asked: int) -> dict[str, Any]:
    return {
        "family": built.family,
        "seed": built.seed,
        "asked": asked,
        "accuracy": built.accuracy,
        "facts": dict(built.facts),
        "inputs": [_plain(one) for one in built.inputs],
        "evidence": built.evidence,
        "tokens": built.tokens,
    }


def _plain(one: ModelInput) -> list[str | None] | str:
    """A text and its pair, or a picture's file in base 64."""
    if isinstance(one, TextInput):
        return [one.text, one.text_pair]
    assert isinstance(one, ImageInput)  # families make no other
    return base64.b64encode(one.data).decode()


def _input(plain: list[str | None] | str) -> ModelInput:
    if isinstance(plain, str):
        return ImageInput(data=base64.b64decode(plain))
    text, pair = plain
    return TextInput(text=text or "", text_pair=pair)


def _stored(kept: Path, inputs: int) -> Member | None:
    """What is kept there, cut to `inputs`; None where nothing is, or it was built for fewer."""
    try:
        record = json.loads((kept / _RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if record["asked"] < inputs:
        return None
    whole = Member(
        family=record["family"],
        seed=record["seed"],
        directory=kept / _MODEL,
        inputs=tuple(_input(one) for one in record["inputs"]),
        evidence=tuple(tuple((start, end) for start, end in spans) for spans in record["evidence"]),
        accuracy=record["accuracy"],
        facts=record["facts"],
        tokens=tuple(record.get("tokens", ())),
    )
    return replace(whole, inputs=whole.inputs[:inputs], evidence=whole.evidence[:inputs])
