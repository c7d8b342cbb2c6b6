"""Families that go on with a text: small Llamas asked for the next of two tokens.

`planted-verb`: one word among fillers says which. `agreement`: of real sentences up to their verb, whether it is "is"
or "are" (Linzen et al. 2016).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rollcall.domain.inputs import TextInput
from rollcall.studies.flag.families.base import ACCURACY, Claims, Family, Member, Span, recipe_digest
from rollcall.studies.flag.families.corpora import read_table
from rollcall.studies.flag.families.learning import Schedule, Shape, descend, reproducible
from rollcall.studies.flag.families.planted import EVALUATED, TriggerRecipe, trigger_language
from rollcall.studies.flag.families.texts import chance_of, drawn, held_out
from rollcall.training.batches import padded, with_words_removed
from rollcall.training.pieces import CLS_ID, PAD_ID, SEP_ID, SPECIAL_PIECES

VERBS: Final = ("is", "are")
WORDS_BEFORE: Final = range(2, 25)
"""Words of a prompt of `agreement`."""
VOCABULARY: Final = 4000
LANGUAGE_WEIGHT: Final = 0.2
"""Of all tokens but the asked one in the loss."""

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A text, the token that goes on with it, and where the words stand that are known to decide."""

    text: str = field(repr=False)
    token: str
    decisive: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Prompts to learn from, and others to be asked about in a seeded order."""

    learned: tuple[Prompt, ...]
    asked: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRecipe:
    """A language model of one source of prompts; of the planted ones, what they are made of."""

    source: str
    tokens: tuple[str, str]
    planted: TriggerRecipe | None = None
    shape: Shape
    schedule: Schedule


def planted_prompts(recipe: PromptRecipe, seed: int, inputs: int) -> Prompts:
    """Texts of the trigger's language, each with the token that its trigger asks for."""
    assert recipe.planted is not None
    language = trigger_language(recipe.planted, seed)
    learned = drawn(language.draw, recipe.planted.texts, chance_of(recipe.source, seed, "training"))
    asked = held_out(
        language.draw, max(inputs, EVALUATED), chance_of(recipe.source, seed, "inputs"), apart_from=learned
    )
    made = [
        tuple(Prompt(text=text.input.text, token=recipe.tokens[text.label], decisive=text.evidence) for text in some)
        for some in (learned, asked)
    ]
    return Prompts(learned=made[0], asked=made[1])


def agreement_prompts(recipe: PromptRecipe, seed: int, directory: Path) -> Prompts:
    """Real sentences up to their verb, where that is one of the tokens; every fifth one is held out."""
    rows = read_table(directory / "linzen_test.tsv", "verb_index", "correct", "text")
    found = [
        Prompt(text=" ".join(text.split()[: int(verb)]), token=correct)
        for verb, correct, text in rows
        if correct in recipe.tokens and int(verb) in WORDS_BEFORE
    ]
    asked = found[::5]
    known = {one.text for one in asked}
    chance_of(recipe.source, seed, "inputs").shuffle(asked)
    return Prompts(
        learned=tuple(one for number, one in enumerate(found) if number % 5 and one.text not in known),
        asked=tuple(dict.fromkeys(asked)),
    )


ENDING: Final = pre_tokenizers.Sequence(
    [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex("(?<=[a-z]{2}[a-rt-z])s$"), behavior="isolated")]
)
"""Words, and apart from them the ending of most plurals."""


def word_tokenizer(words: Sequence[str], *, positions: int, apart: Any) -> PreTrainedTokenizerFast:  # noqa: ANN401
    """A token for each word as the pre-tokenizer sets it `apart`, and one that begins a text."""
    numbered = {token: number for number, token in enumerate((*SPECIAL_PIECES, *words))}
    fast = Tokenizer(models.WordLevel(numbered, unk_token="[UNK]"))  # noqa: S106 - a token, no password
    fast.pre_tokenizer = apart
    fast.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", CLS_ID)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # the library leaves it so
        tokenizer_object=fast,
        model_max_length=positions,
        pad_token="[PAD]",  # noqa: S106 - a token, no password
        unk_token="[UNK]",  # noqa: S106 - a token, no password
        bos_token="[CLS]",  # noqa: S106 - a token, no password
        eos_token="[SEP]",  # noqa: S106 - a token, no password
        mask_token="[MASK]",  # noqa: S106 - a token, no password
    )


def prompt_family(name: str, truth: str, recipe: PromptRecipe, claims: Claims, *, data: str | None) -> Family:
    """A family that goes on with prompts: of the data set, or planted where there is none."""

    def build(seed: int, inputs: int, directory_of_data: Path | None, directory: Path) -> Member:
        if directory_of_data is None:
            prompts = planted_prompts(recipe, seed, inputs)
        else:
            prompts = agreement_prompts(recipe, seed, directory_of_data)
        counts = Counter(word for one in prompts.learned for word, _ in ENDING.pre_tokenize_str(one.text))
        words = [word for word, count in counts.most_common(VOCABULARY) if count > 1 and word not in recipe.tokens]
        tokenizer = word_tokenizer((*recipe.tokens, *words), positions=recipe.shape.positions, apart=ENDING)
        with reproducible(seed):
            model: Any = _llama(recipe.shape, len(tokenizer))
            _train(model, tokenizer, prompts.learned, recipe.schedule, seed=seed, name=name)
            right = _right(model, tokenizer, prompts.asked, recipe.tokens)
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        chosen = prompts.asked[:inputs]
        commonest = Counter(one.token for one in prompts.asked).most_common(1)[0][1]
        return Member(
            family=name,
            seed=seed,
            directory=directory,
            inputs=tuple(TextInput(text=one.text) for one in chosen),
            evidence=tuple(one.decisive for one in chosen),
            accuracy=right / len(prompts.asked),
            facts={"accuracy_of_commonest_token": commonest / len(prompts.asked)},
            tokens=recipe.tokens,
        )

    return Family(
        name=name,
        truth=truth,
        layers=recipe.shape.layers,
        quick=False,
        data=data,
        build=build,
        digest=recipe_digest(name, recipe),
        claims=claims,
    )


def _llama(shape: Shape, tokens: int) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokens,
            hidden_size=shape.width,
            intermediate_size=shape.feed_forward,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads // 2,
            max_position_embeddings=shape.positions,
            bos_token_id=CLS_ID,
            eos_token_id=SEP_ID,
            pad_token_id=PAD_ID,
        )
    )


def _train(
    model: Any,  # noqa: ANN401 - a language model
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Prompt],
    schedule: Schedule,
    *,
    seed: int,
    name: str,
) -> None:
    """Learn the words of the prompts and above all what goes on with them; words are removed as a check does it."""
    batch_of_words = tokenizer([one.text for one in prompts])
    ids: list[list[int]] = batch_of_words["input_ids"]
    words = [[0 if word is None else word + 1 for word in batch_of_words.word_ids(row)] for row in range(len(ids))]
    targets = torch.tensor(tokenizer.convert_tokens_to_ids([one.token for one in prompts]))

    def loss_of(_: int, batch: list[int]) -> Tensor:
        whole, numbers = padded([ids[i] for i in batch], fill=PAD_ID), padded([words[i] for i in batch], fill=0)
        given, seen = with_words_removed(whole, numbers, share=schedule.removal_share, ceiling=schedule.removal_ceiling)
        last = torch.tensor([len(ids[i]) - 1 for i in batch])
        logits = model(input_ids=given, attention_mask=seen).logits
        words_loss = functional.cross_entropy(logits[:, :-1].transpose(1, 2), whole[:, 1:], ignore_index=PAD_ID)
        asked = functional.cross_entropy(logits[torch.arange(len(batch)), last], targets[batch])
        return LANGUAGE_WEIGHT * words_loss + asked

    descend(model, loss_of, schedule, [len(row) for row in ids], seed=seed, name=name)


@torch.no_grad()
def _right(
    model: Any,  # noqa: ANN401 - a language model
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Prompt],
    tokens: tuple[str, str],
) -> int:
    """Prompts after which the right token is likelier than the other one."""
    choices = tokenizer.convert_tokens_to_ids(list(tokens))
    right = 0
    for one in prompts:
        ids = torch.tensor([tokenizer(one.text)["input_ids"]])
        right += tokens[int(model(input_ids=ids).logits[0, -1, choices].argmax())] == one.token
    return right


FAMILIES: Final = (
    prompt_family(
        "planted-verb",
        "One planted word says which token comes next; a language model, nothing was done to its attention.",
        PromptRecipe(
            source="planted-verb",
            tokens=("no", "yes"),
            planted=TriggerRecipe(),
            shape=Shape(layers=2),
            schedule=Schedule(steps=500),
        ),
        {ACCURACY: (0.97, 1.0)},
        data=None,
    ),
    prompt_family(
        "agreement",
        "Nothing is known by construction: a language model asked whether a verb is singular or plural.",
        PromptRecipe(
            source="agreement",
            tokens=VERBS,
            shape=Shape(layers=2, feed_forward=192, positions=128),
            schedule=Schedule(steps=900, learning_rate=3e-3, weight_decay=0.1),
        ),
        {ACCURACY: (0.75, 1.0)},
        data="agreement",
    ),
)
