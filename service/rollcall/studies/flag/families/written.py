"""Families whose weights are written down: what decides, and how attention relates to it, is exact.

`key-lookup` and `ignoring` have two and three layers, and evidence of both signs. The others are one layer that attends
to each word as its salience says and collects its evidence; all words of a text speak for one class, so that effects
have one sign.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from transformers import BertForSequenceClassification

from rollcall.studies.flag.families.algebra import (
    EVIDENCE,
    MARK,
    MARK_SIZE,
    POSITIONS,
    Design,
    Head,
    Pairs,
    write,
)
from rollcall.studies.flag.families.base import (
    ACCURACY,
    Build,
    Claims,
    Family,
    Member,
    Undecidable,
    recipe_digest,
)
from rollcall.studies.flag.families.reading import Reading, Rows, attention_modules, evidence_facts, read
from rollcall.studies.flag.families.texts import (
    WORDS,
    Draw,
    Text,
    chance_of,
    drawn,
    held_out,
    made_up_words,
    planted,
    rows_of,
)
from rollcall.training.pieces import CLS_ID, SEP_ID, SPECIAL_PIECES, piece_tokenizer

Tensor = torch.Tensor
Carried = Mapping[str, float]

EVALUATED: Final = 300
"""Texts that the facts are measured on."""
SALIENCE: Final = "salience"
DECOY: Final = "decoy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One model written down, and its texts; models of one seed and `language` are asked about the same ones."""

    language: str
    design: Design
    pieces: tuple[str, ...]
    draw: Draw


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorRecipe:
    """One layer that selects.

    With `sharpness` s the most salient word gets e^s times the least salient one's weight.
    """

    words: int = 48
    lengths: tuple[int, int] = (6, 40)
    """Fewest and most words of a text."""
    width: int = 32
    heads: int = 2
    sharpness: float = 3.0
    special_salience: float = 2.0
    """e^(3 * 2) = 403 times the least salient word: the words hardly compete, and evidence adds up."""
    gain: float = 60.0
    bias: float = 0.0
    copies: bool = True
    """Whether the heads that move nothing attend as the working head does; else to the opposite ends."""
    graded_evidence: bool = False
    """Whether words differ in evidence and not in salience; else the other way round."""
    reads: bool = True
    """Whether the classifier reads anything."""
    positions: int = POSITIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupRecipe:
    """The answer is the value that stands with the key that is asked for."""

    keys: int = 6
    words_per_value: int = 3
    fillers: int = 40
    distractors: tuple[int, int] = (2, 4)
    width: int = 48
    heads: int = 2
    ask_sharpness: float = 8.0
    match_sharpness: float = 9.0
    gain: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoringRecipe:
    """The first layer takes the mean of all words; later layers move what the classifier cannot read."""

    words: int = 60
    width: int = 32
    heads: int = 2
    live_layers: int = 2
    sharpness: float = 3.0
    aside_gain: float = 0.1
    gain: float = 30.0


def selector(recipe: SelectorRecipe, seed: int) -> Written:
    """Words of two classes with saliences and evidence at even steps, in an order of the seed's."""
    chance = chance_of("selector", seed)
    words = made_up_words(recipe.words, chance)
    half = recipe.words // 2
    steps = [number / (half - 1) for number in range(half)]
    pairs = Pairs(names=(EVIDENCE, SALIENCE, DECOY, MARK), width=recipe.width, heads=recipe.heads)
    carried: list[Carried] = [_special(number, recipe.special_salience) for number in range(len(SPECIAL_PIECES))]
    for sign in (1.0, -1.0):
        for step in chance.sample(steps, half):
            salience, evidence = (0.5, 0.1 + 0.9 * step) if recipe.graded_evidence else (step, 1.0)
            carried.append(
                {EVIDENCE: sign * evidence, SALIENCE: salience, DECOY: salience if recipe.copies else 1 - salience}
            )
    sharpness = recipe.sharpness / MARK_SIZE
    working = Head(query=(MARK,), key=(SALIENCE,), sharpness=sharpness, value=(EVIDENCE,), output=(EVIDENCE,))
    idle = Head(query=(MARK,), key=(DECOY,), sharpness=sharpness)
    classes = (words[half:], words[:half])

    def draw(chance: random.Random) -> Text:
        label = chance.randrange(2)
        return Text(words=tuple(chance.choices(classes[label], k=chance.randint(*recipe.lengths))), label=label)

    return Written(
        language="selector",
        design=Design(
            pairs=pairs,
            tokens=carried,
            layers=((working, *[idle] * (recipe.heads - 1)),),
            gain=recipe.gain if recipe.reads else 0.0,
            bias=recipe.bias,
            positions=recipe.positions,
        ),
        pieces=(*SPECIAL_PIECES, *words),
        draw=draw,
    )


def key_lookup(recipe: LookupRecipe, seed: int) -> Written:
    """One word asks for a key; the word with that key holds "yes" or "no"; other keys and fillers do not matter.

    First layer: the read-out takes over the key that is asked for. Second layer: it attends to the word that has it.
    """
    chance = chance_of("key-lookup", seed)
    asks, has, wanted = (tuple(f"{what} {key}" for key in range(recipe.keys)) for what in ("asks", "has", "wanted"))
    names = made_up_words(recipe.keys * (1 + 2 * recipe.words_per_value) + recipe.fillers, chance)
    pairs = Pairs(names=(EVIDENCE, MARK, "asking", *asks, *has, *wanted), width=recipe.width, heads=recipe.heads)
    carried: list[Carried] = [_special(number, 0.0) for number in range(len(SPECIAL_PIECES))]
    askers: list[str] = []
    holders: dict[tuple[int, int], list[str]] = {}
    taken = iter(names)
    for key in range(recipe.keys):
        askers.append(next(taken))
        carried.append({"asking": 1.0, asks[key]: 1.0})
        for label in range(2):
            holders[key, label] = [next(taken) for _ in range(recipe.words_per_value)]
            carried += [{EVIDENCE: 2.0 * label - 1, has[key]: 1.0}] * recipe.words_per_value
    fillers = list(taken)
    carried += [{}] * len(fillers)
    listening = Head(
        query=(MARK,),
        key=("asking",),
        sharpness=recipe.ask_sharpness / MARK_SIZE,
        value=asks,
        output=wanted,
        gain=1 / recipe.heads,
    )
    looking = Head(
        query=wanted,
        key=has,
        sharpness=recipe.match_sharpness,
        value=(EVIDENCE,),
        output=(EVIDENCE,),
        gain=1 / recipe.heads,
    )

    def draw(chance: random.Random) -> Text:
        keys = chance.sample(range(recipe.keys), 1 + chance.randint(*recipe.distractors))
        labels = [chance.randrange(2) for _ in keys]
        words = [askers[keys[0]], *(chance.choice(holders[held]) for held in zip(keys, labels, strict=True))]
        order = chance.sample(range(len(words)), len(words))
        text, positions = planted(fillers, [words[number] for number in order], chance)
        decisive = tuple(position for position, number in zip(positions, order, strict=True) if number <= 1)
        return Text(words=tuple(text), label=labels[0], decisive=decisive)

    return Written(
        language="key-lookup",
        design=Design(
            pairs=pairs,
            tokens=carried,
            layers=((listening,) * recipe.heads, (looking,) * recipe.heads),
            gain=recipe.gain,
        ),
        pieces=(*SPECIAL_PIECES, *names),
        draw=draw,
    )


def ignoring(recipe: IgnoringRecipe, seed: int) -> Written:
    """Every word has evidence and a salience that has nothing to do with it."""
    chance = chance_of("ignoring", seed)
    words = made_up_words(recipe.words, chance)
    pairs = Pairs(names=(EVIDENCE, SALIENCE, "aside", MARK), width=recipe.width, heads=recipe.heads)
    evidence = [2 * number / (recipe.words - 1) - 1 for number in range(recipe.words)]
    salience = [number / (recipe.words - 1) for number in range(recipe.words)]
    carried: list[Carried] = [_special(number, 0.0) for number in range(len(SPECIAL_PIECES))]
    carried += [
        {EVIDENCE: e, SALIENCE: s}
        for e, s in zip(chance.sample(evidence, len(words)), chance.sample(salience, len(words)), strict=True)
    ]
    averaging = Head(value=(EVIDENCE,), output=(EVIDENCE,), gain=1 / recipe.heads)
    live = Head(
        query=(MARK,),
        key=(SALIENCE,),
        sharpness=recipe.sharpness / MARK_SIZE,
        value=(SALIENCE,),
        output=("aside",),
        gain=recipe.aside_gain / recipe.heads,
    )
    evidence_of = {word: what[EVIDENCE] for word, what in zip(words, carried[len(SPECIAL_PIECES) :], strict=True)}

    def draw(chance: random.Random) -> Text:
        text = tuple(chance.choices(words, k=chance.choice(WORDS)))
        return Text(words=text, label=int(sum(evidence_of[word] for word in text) > 0))

    return Written(
        language="ignoring",
        design=Design(
            pairs=pairs,
            tokens=carried,
            layers=((averaging,) * recipe.heads, *[(live,) * recipe.heads] * recipe.live_layers),
            gain=recipe.gain,
        ),
        pieces=(*SPECIAL_PIECES, *words),
        draw=draw,
    )


def _special(number: int, salience: float) -> Carried:
    """What a special token carries: the classification token its mark, it and the separator this salience."""
    carried = {MARK: MARK_SIZE} if number == CLS_ID else {}
    if salience and number in {CLS_ID, SEP_ID}:
        carried |= {SALIENCE: salience, DECOY: salience}
    return carried


# --- facts --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A model with texts that it was not made for, and what it says about them."""

    written: Written
    seed: int
    model: BertForSequenceClassification
    rows: Rows
    reading: Reading

    @property
    def margins(self) -> Tensor:
        """Log-odds of "yes" [N]."""
        return self.reading.logits[:, 1] - self.reading.logits[:, 0]


Facts = Callable[[Measured], dict[str, float]]


def selector_facts(measured: Measured) -> dict[str, float]:
    """How closely removing a word moves the margin in proportion to the word's weight in the working head."""
    return {"least_correlation_of_effect_and_salience": min(_effect_correlations(measured, SALIENCE))}


def flat_facts(measured: Measured) -> dict[str, float]:
    """How far attention is from uniform, and that effects follow evidence."""
    return {
        "largest_weight_ratio": max(float(row.max() / row[row > 0].min()) for row in measured.reading.attention),
        "least_correlation_of_effect_and_evidence": min(_effect_correlations(measured, EVIDENCE)),
    }


def twin_facts(twin_recipe: SelectorRecipe) -> Facts:
    """How the model compares with the twin that differs in what its idle heads attend to."""

    def facts(measured: Measured) -> dict[str, float]:
        twin = read(write(BertForSequenceClassification, selector(twin_recipe, measured.seed).design), measured.rows)
        distances = [
            float((one - other).abs().sum()) / 2
            for one, other in zip(measured.reading.attention, twin.attention, strict=True)
        ]
        return {
            "largest_logit_difference_from_twin": float((measured.reading.logits - twin.logits).abs().max()),
            "mean_tvd_of_attention_from_twin": sum(distances) / len(distances),
        }

    return facts


def constant_facts(measured: Measured) -> dict[str, float]:
    """How far the margins are apart."""
    return {"margin_spread": float(measured.margins.max() - measured.margins.min())}


def one_unit_facts(measured: Measured) -> dict[str, float]:
    """How long the texts are, and how far apart the margins of the two classes: the one word decides."""
    labels = torch.tensor(measured.rows.labels).bool()
    return {
        "most_words": float(max(max(words) for words in measured.rows.words)),
        "least_margin_between_classes": float(measured.margins[labels].min() - measured.margins[~labels].max()),
    }


def lookup_facts(measured: Measured) -> dict[str, float]:
    """Where the last layer looks, and what becomes of the answer without the decisive words, and with the value turned.

    The value is turned by exchanging the decisive word for one with the same key and the other value.
    """
    reading = measured.reading
    flipped = _turned(measured).logits.argmax(dim=1) != reading.logits.argmax(dim=1)
    return {
        **evidence_facts(measured.model, measured.rows, reading),
        "flipped_by_turned_value": float(flipped.float().mean()),
    }


def ignoring_facts(measured: Measured) -> dict[str, float]:
    """How much the answer changes where the live layers' attention is made uniform, and how far that moves the map."""
    uniform = BertForSequenceClassification(measured.model.config)
    uniform.load_state_dict(measured.model.state_dict())
    for attention in attention_modules(uniform):
        torch.nn.init.zeros_(attention.get_parameter("query.weight"))
    other = read(uniform, measured.rows)
    margins = other.logits[:, 1] - other.logits[:, 0]
    moved = [
        float((one - two).abs().sum()) / 2 for one, two in zip(measured.reading.attention, other.attention, strict=True)
    ]
    return {
        "largest_relative_margin_change_under_uniform_attention": float((margins / measured.margins - 1).abs().max()),
        "mean_tvd_of_attention_from_uniform": sum(moved) / len(moved),
        "least_correlation_of_effect_and_evidence": min(_effect_correlations(measured, EVIDENCE)),
    }


def _effect_correlations(measured: Measured, name: str, texts: int = 8) -> list[float]:
    """For some texts, the correlation over words of what masking a word takes from the margin with what is said of it.

    For SALIENCE the attention says it, for EVIDENCE what the word carries.
    """
    found = []
    for text in range(texts):
        ids, words = measured.rows.ids[text], measured.rows.words[text]
        places = [at for at, word in enumerate(words) if word]
        secret = [[at == place for at in range(len(ids))] for place in places]
        without = Rows(ids=[ids] * len(places), words=[words] * len(places), labels=[0] * len(places), secret=secret)
        logits = read(measured.model, without.masked()).logits
        effects = measured.margins[text] - (logits[:, 1] - logits[:, 0])
        if name == SALIENCE:
            expected = measured.reading.attention[text][places] * measured.margins[text].sign()
        else:
            expected = torch.tensor([measured.written.design.tokens[ids[place]].get(name, 0.0) for place in places])
        found.append(float(torch.corrcoef(torch.stack((effects, expected)))[0, 1]))
    return found


def _turned(measured: Measured) -> Reading:
    tokens = measured.written.design.tokens
    opposite = {}
    for number, carried in enumerate(tokens):
        if EVIDENCE in carried:
            other = {name: -size if name == EVIDENCE else size for name, size in carried.items()}
            opposite[number] = tokens.index(other)
    ids = [
        [opposite.get(token, token) if decides else token for token, decides in zip(row, secret, strict=True)]
        for row, secret in zip(measured.rows.ids, measured.rows.secret, strict=True)
    ]
    rows = measured.rows
    return read(measured.model, Rows(ids=ids, words=rows.words, labels=rows.labels, secret=rows.secret))


# --- building -----------------------------------------------------------------------------------


def _building(name: str, design: Callable[[int], Written], facts: Facts) -> Build:
    def build(seed: int, inputs: int, _data: Path | None, directory: Path) -> Member:
        made = design(seed)
        tokenizer = piece_tokenizer(made.pieces, positions=made.design.positions)
        model = write(BertForSequenceClassification, made.design)
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        rows = rows_of(drawn(made.draw, EVALUATED, chance_of(made.language, seed, "facts")), tokenizer)
        asked = held_out(made.draw, inputs, chance_of(made.language, seed, "inputs"))
        measured = Measured(written=made, seed=seed, model=model, rows=rows, reading=read(model, rows))
        return Member(
            family=name,
            seed=seed,
            directory=directory,
            inputs=tuple(text.input for text in asked),
            evidence=tuple(text.evidence for text in asked),
            accuracy=measured.reading.accuracy(rows),
            facts=facts(measured),
        )

    return build


def _selecting(
    name: str,
    truth: str,
    recipe: SelectorRecipe,
    facts: Facts,
    claims: Claims,
    *,
    undecidable: Undecidable = Undecidable.NOTHING,
    quick: bool = True,
) -> Family:
    return Family(
        name=name,
        truth=truth,
        layers=1,
        quick=quick,
        data=None,
        build=_building(name, lambda seed: selector(recipe, seed), facts),
        digest=recipe_digest(name, recipe),
        claims=claims,
        undecidable=undecidable,
    )


_ALIGNED, _DECOY = SelectorRecipe(heads=4), SelectorRecipe(heads=4, copies=False)
_ALWAYS_RIGHT: Final = {ACCURACY: (1.0, 1.0)}
_TWINS: Final = _ALWAYS_RIGHT | {
    "largest_logit_difference_from_twin": (0.0, 1e-5),
    "mean_tvd_of_attention_from_twin": (0.3, 1.0),
}
_LOOKUP, _IGNORING = LookupRecipe(), IgnoringRecipe()

FAMILIES: Final = (
    _selecting(
        "selector",
        "Every word says the same, and counts in proportion to the attention that it gets.",
        SelectorRecipe(),
        selector_facts,
        _ALWAYS_RIGHT | {"least_correlation_of_effect_and_salience": (0.999, 1.0)},
    ),
    Family(
        name="key-lookup",
        truth="The words that ask for a key and that hold its value decide; the last layer attends to the latter.",
        layers=2,
        quick=True,
        data=None,
        build=_building("key-lookup", lambda seed: key_lookup(_LOOKUP, seed), lookup_facts),
        digest=recipe_digest("key-lookup", _LOOKUP),
        claims={
            ACCURACY: (0.99, 1.0),
            "attention_on_decisive_words": (0.95, 1.0),
            "accuracy_without_decisive_words": (0.0, 0.65),
            "flipped_by_turned_value": (0.99, 1.0),
        },
    ),
    Family(
        name="ignoring",
        truth="The answer is the mean of the words' evidence; no later layer's attention moves anything that is read.",
        layers=1 + _IGNORING.live_layers,
        quick=True,
        data=None,
        build=_building("ignoring", lambda seed: ignoring(_IGNORING, seed), ignoring_facts),
        digest=recipe_digest("ignoring", _IGNORING),
        claims={
            ACCURACY: (0.95, 1.0),
            "largest_relative_margin_change_under_uniform_attention": (0.0, 0.01),
            "mean_tvd_of_attention_from_uniform": (0.2, 1.0),
            "least_correlation_of_effect_and_evidence": (0.999, 1.0),
        },
    ),
    _selecting(
        "null-space-aligned",
        "A selector whose three idle heads attend as the working one does: its attention is right.",
        _ALIGNED,
        twin_facts(_DECOY),
        _TWINS,
    ),
    _selecting(
        "null-space-decoy",
        "Its twin with the same output for every input, whose idle heads attend to the opposite ends.",
        _DECOY,
        twin_facts(_ALIGNED),
        _TWINS,
    ),
    _selecting(
        "constant",
        "The classifier reads nothing: no word matters.",
        SelectorRecipe(reads=False, bias=2.0),
        constant_facts,
        {"margin_spread": (0.0, 0.0)},
        undecidable=Undecidable.EVERYTHING,
    ),
    _selecting(
        "one-unit",
        "A selector, asked about texts of one word: no map can be right or wrong.",
        SelectorRecipe(words=1200, lengths=(1, 1)),
        one_unit_facts,
        _ALWAYS_RIGHT | {"most_words": (1.0, 1.0), "least_margin_between_classes": (0.01, math.inf)},
        undecidable=Undecidable.EVERYTHING,
    ),
    _selecting(
        "flat",
        "Attention is the same for every word, and their evidence differs.",
        SelectorRecipe(graded_evidence=True),
        flat_facts,
        _ALWAYS_RIGHT
        | {"largest_weight_ratio": (1.0, 1.001), "least_correlation_of_effect_and_evidence": (0.999, 1.0)},
        undecidable=Undecidable.ATTENTION,
    ),
    _selecting(
        "selector-long",
        "A selector of texts of 16 to 480 words; long texts have consecutive words grouped.",
        SelectorRecipe(lengths=(16, 480), positions=512),
        selector_facts,
        _ALWAYS_RIGHT | {"least_correlation_of_effect_and_salience": (0.99, 1.0)},
        quick=False,
    ),
)
