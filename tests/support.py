"""The README's table of architectures, made from what a tiny random model of each family was found to do.

`python -m tests.support` prints it anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rollcall.domain.inputs import Modality
from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import Scope
from rollcall.models.families import FAMILIES
from rollcall.models.loading import LoadedModel, load_model
from tests.decoders import make_decoder, tokens_of
from tests.exports import export
from tests.pictures import make_vision_model
from tests.tiny import make_model

READS = {Modality.TEXT: "texts, pairs", Modality.IMAGE: "images"}
WORDS = ", words"
"""Of a family whose token classifiers can be explained."""
PROMPTS = "prompts"

HEAD = (
    "architecture",
    "`model_type`",
    "reads",
    "torch: maps",
    "one query in the last layer",
    "rows join late",
    "exported: maps",
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A family's model as torch runs it; and of those that read text its export, and one that labels words."""

    ours: LoadedModel
    exported: LoadedModel | None = None
    words: LoadedModel | None = None


def lines(found: dict[str, Found]) -> Iterator[str]:
    """The table of what was `found`, by model type."""
    yield _row(*HEAD)
    yield _row(*["---"] * len(HEAD))
    for family in FAMILIES.values():
        known = found[family.model_type]
        ours, exported = known.ours, known.exported
        labels_words = known.words is not None and not known.words.failed
        shared = {test.name: "yes" if test.passed else "no" for test in ours.self_tests}
        yield _row(
            family.title,
            f"`{family.model_type}`",
            (PROMPTS if family.causal else READS[family.modality]) + (WORDS if labels_words else ""),
            _maps(ours),
            shared["readout_row_suffices"],
            shared["rows_join_late"],
            "—" if exported is None else _maps(exported),
        )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _maps(model: LoadedModel) -> str:
    """How many of the maps there are; nothing of them where the model only predicts."""
    if model.failed:
        return "predictions only"
    scope = "" if model.scope is Scope.ALL_LAYERS else ", removals only"
    return ("all" if set(model.maps) == set(MapKind) else f"{len(model.maps)} of {len(MapKind)}") + scope


def made(root: Path) -> dict[str, Found]:
    """A tiny model of every family; of those that read text its export by torch's older exporter, and a labeller."""
    found: dict[str, Found] = {}
    for name, family in FAMILIES.items():
        if family.causal:
            found[name] = Found(ours=load_model(make_decoder(name, root / name), tokens=tokens_of(name)))
            continue
        if family.modality is Modality.IMAGE:
            found[name] = Found(ours=load_model(make_vision_model(name, root / name)))
            continue
        directory = make_model(name, root / name)
        exported = export(directory, root / f"{name}-exported", attention=family.layout.stock)
        words = load_model(make_model(name, root / f"{name}-words", words=True))
        found[name] = Found(ours=load_model(directory), exported=load_model(exported), words=words)
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(lines(made(Path(folder)))))
