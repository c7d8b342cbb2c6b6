"""Made-up opinion sentences: plain, negated, contrasted and short ones, about films and products.

The treebank holds few negations of plain words and no products. These sentences fill that gap. They
come from the tables below and a seed; nothing here was written by a customer, and no torch is
needed. The target of an example is the probability of "positive": a sentence that merely denies a
fault ("not bad") is less surely positive than praise.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A text and the probability that it is positive."""

    text: str
    positive: float


EVEN: Final = 0.5
UNCAPITALISED_SHARE: Final = 0.3

PRAISE: Final = 0.97
BLAME: Final = 0.03
FAULT_DENIED: Final = 0.85
"""How surely "it is not bad" is positive."""
LAST_CLAUSE_GOOD: Final = 0.85
LAST_CLAUSE_BAD: Final = 0.15


def _words(text: str) -> tuple[str, ...]:
    """Split a table of words."""
    return tuple(text.split())


GOOD: Final = _words(
    """
    good great excellent wonderful fun funny enjoyable brilliant charming moving clever
    impressive reliable comfortable fast beautiful delicious friendly helpful entertaining
    interesting exciting amazing superb fantastic lovely perfect memorable convincing original
    satisfying useful outstanding touching thrilling delightful engaging gripping hilarious
    smart fresh inspiring powerful sweet stunning handy sturdy durable accurate affordable
    clean bright quiet simple pleasant nice solid fascinating heartfelt
    """
)
BAD: Final = _words(
    """
    bad terrible awful boring dull slow poor disappointing horrible annoying ugly stupid
    predictable useless unreliable uncomfortable noisy broken weak mediocre forgettable
    tedious confusing cheap rude bland overpriced frustrating lifeless pointless painful
    flawed dreadful silly lame shallow clumsy unfunny messy tiresome dirty expensive flimsy
    faulty defective buggy blurry fragile ridiculous irritating pathetic sloppy stale
    tasteless inaccurate
    """
)
ART: Final = _words(
    """
    film movie story plot cast script ending dialogue comedy thriller drama romance sequel
    music soundtrack direction performance book novel show documentary acting humor pacing
    """
)
GOODS: Final = _words(
    """
    phone camera battery screen keyboard laptop printer charger headset speaker router
    software app product device player service food meal hotel room restaurant waiter delivery
    price design sound picture quality size shirt jacket chair mattress blender kettle toy
    game manual remote lens zoom button interface website staff pizza coffee breakfast case
    cable display
    """
)
FAULTS: Final = _words(
    """
    problem problems flaw flaws fault faults defects issues weaknesses complaints errors bugs
    mistakes trouble noise
    """
)
MERITS: Final = _words("charm wit value quality style energy suspense depth talent taste heart")
BORED: Final = _words("bored disappointed annoyed confused irritated frustrated")
PLEASED: Final = _words("happy pleased impressed satisfied delighted thrilled entertained amused")
MASTERWORK: Final = _words(
    """
    masterpiece classic triumph winner success gem bargain treat joy pleasure delight hit
    """
)
FAILURE: Final = _words("disaster failure mess bore waste letdown flop joke nuisance chore")
LIKED: Final = _words("liked loved enjoyed adored")
LIKE: Final = _words("like love enjoy recommend")
DISLIKED: Final = _words("hated disliked regretted despised")
ADVERBS: Final = ("", "", "", "very ", "really ", "so ", "quite ", "truly ", "extremely ", "just ")
PEOPLE: Final = ("I", "we", "they", "my wife", "my husband", "the kids", "my friends", "everyone")
DEGREES: Final = ("", "", "very ", "that ", "really ", "even ")
ENDINGS: Final = (".", ".", ".", "", "!")


class _Sentences:
    """Draws words from the tables and puts them into sentences."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - a seeded draw, no secret

    def of(self, *choices: str) -> str:
        return self._chance.choice(choices)

    def good(self) -> str:
        return self.of(*GOOD)

    def bad(self) -> str:
        return self.of(*BAD)

    def noun(self) -> str:
        return self.of(*self._chance.choice((ART, GOODS)))

    def thing(self) -> str:
        """A subject or object in the singular."""
        noun = self.noun()
        return self.of("it", "this", "that", f"the {noun}", f"the {noun}", f"this {noun}", f"my {noun}")

    def things(self) -> str:
        """Something that one can own or see."""
        return self.of(f"the {self.noun()}", f"this {self.noun()}", "it", "this")

    def is_(self) -> str:
        return self.of("is", "was")

    def isnt(self) -> str:
        return self.of("is not", "was not", "isn't", "wasn't", "is not", "is never", "was never")

    def didnt(self) -> str:
        return self.of("did not", "didn't", "do not", "don't", "never", "could not", "couldn't")

    def article(self, word: str) -> str:
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"

    # From here one method a kind, each returning the text without its ending, and the target.

    def plain(self) -> tuple[str, float]:
        positive = self._chance.random() < EVEN
        word = self.good() if positive else self.bad()
        degree = self.of(*ADVERBS)
        who = self.of(*PEOPLE)
        felt = self.of(*(PLEASED if positive else BORED))
        verb = self.of(*(LIKED if positive else DISLIKED))
        kind = self.of(*(MASTERWORK if positive else FAILURE))
        were = "was" if who.startswith(("I", "my wife", "my husband", "everyone")) else "were"
        text = self.of(
            f"{self.thing()} {self.is_()} {degree}{word}",
            f"{self.thing()} {self.is_()} {degree}{word}",
            f"what {self.article(word)} {self.noun()}",
            f"{who} {verb} {self.things()}",
            f"{who} {were} {self.of(*ADVERBS)}{felt} by {self.things()}",
            f"I find {self.things()} {degree}{word}",
            f"{self.thing()} {self.is_()} {self.article(kind)}",
            f"{word} {self.noun()}",
            f"{degree}{word}",
            f"{self.article(word)} {self.noun()} with {self.article(word)} {self.noun()}",
        )
        return text, PRAISE if positive else BLAME

    def merit_denied(self) -> tuple[str, float]:
        good, who = self.good(), self.of(*PEOPLE)
        text = self.of(
            f"{self.thing()} {self.isnt()} {self.of(*DEGREES)}{good}",
            f"{self.thing()} {self.isnt()} {good} at all",
            f"{self.thing()} {self.isnt()} {self.article(good)} {self.noun()}",
            f"{self.thing()} {self.isnt()} {good} or {self.good()}",
            f"not {self.of('', 'very ', 'really ', 'so ')}{good}",
            f"not {self.article(good)} {self.noun()}",
            f"{who} {self.didnt()} {self.of(*LIKE)} {self.things()}",
            f"I {self.didnt()} {self.of(*LIKE)} {self.things()}",
            f"I would not {self.of('recommend', 'buy', 'see', 'watch', 'trust')} {self.things()}",
            f"nobody {self.of(*LIKED)} {self.things()}",
            f"there is nothing {good} about {self.things()}",
            f"nothing {good} here",
            f"{self.thing()} {self.is_()} hardly {good}",
            f"{self.thing()} {self.is_()} hardly {self.article(self.of(*MASTERWORK))}",
            f"{self.thing()} {self.is_()} no {self.of(*MASTERWORK)}",
            f"{self.thing()} {self.is_()} far from {good}",
            f"{self.thing()} {self.is_()} anything but {good}",
            f"{self.thing()} {self.is_()} neither {good} nor {self.good()}",
            f"{self.thing()} has no {self.of(*MERITS)}",
            f"{self.thing()} lacks {self.of(*MERITS)} and {self.of(*MERITS)}",
            f"{self.thing()} fails to be {good}",
            f"{self.thing()} could have been {good}",
            f"{self.thing()} should have been {self.of('more ', 'much more ')}{good}",
            f"{who} expected {self.article(good)} {self.noun()} and got a {self.of(*FAILURE)}",
            f"I am not {self.of(*PLEASED)} with {self.things()}",
            f"{self.thing()} {self.is_()} less {good} than I expected",
            f"{self.thing()} could not be worse",
        )
        return text, BLAME

    def fault_denied(self) -> tuple[str, float]:
        bad, who = self.bad(), self.of(*PEOPLE)
        noun = self.noun()
        text, sure = self._chance.choice(
            (
                (f"{self.thing()} {self.isnt()} {bad}", FAULT_DENIED),
                (f"{self.thing()} {self.isnt()} {bad} at all", FAULT_DENIED),
                (f"{self.thing()} {self.isnt()} {self.of('that ', 'too ')}{bad}", 0.75),
                (f"{self.thing()} {self.isnt()} {bad} or {self.bad()}", FAULT_DENIED),
                (f"{self.thing()} {self.isnt()} {self.article(bad)} {noun}", FAULT_DENIED),
                (f"not {self.of('', 'too ', 'so ')}{bad}", 0.8),
                (f"not {self.article(bad)} {noun}", 0.8),
                (f"never {bad}", FAULT_DENIED),
                (f"there is nothing {bad} about {self.things()}", FAULT_DENIED),
                (
                    f"there is never {self.article(bad)} {self.of('scene', 'moment', 'minute')}",
                    PRAISE,
                ),
                (f"not one {bad} {self.of('scene', 'moment', 'joke', 'minute')}", PRAISE),
                (f"{self.thing()} {self.is_()} far from {bad}", FAULT_DENIED),
                (f"{self.thing()} {self.is_()} anything but {bad}", FAULT_DENIED),
                (f"{self.thing()} {self.is_()} hardly {bad}", 0.75),
                (f"{self.thing()} {self.is_()} neither {bad} nor {self.bad()}", FAULT_DENIED),
                (f"{self.thing()} {self.is_()} {self.good()} without being {bad}", PRAISE),
                (f"{self.thing()} {self.is_()} never {bad} and always {self.good()}", PRAISE),
                (f"{who} did not {self.of('hate', 'regret', 'dislike')} {self.things()}", 0.75),
                (f"I was not {self.of(*BORED)} by {self.things()}", FAULT_DENIED),
                (f"I was never {self.of(*BORED)}", FAULT_DENIED),
                (f"nobody was {self.of(*BORED)} by {self.things()}", FAULT_DENIED),
                (f"no {self.of(*FAULTS)} with {self.things()}", PRAISE),
                (f"I have had no {self.of(*FAULTS)} with {self.things()}", PRAISE),
                (f"{self.thing()} works without {self.of(*FAULTS)}", PRAISE),
                (f"{self.thing()} has no {self.of(*FAULTS)}", PRAISE),
                (
                    f"you won't {self.of('regret it', 'be sorry', 'be disappointed', 'be bored')}",
                    PRAISE,
                ),
                (
                    f"{who} could not stop {self.of('laughing', 'smiling', 'reading', 'watching')}",
                    PRAISE,
                ),
                (f"{self.thing()} could not be {self.of('better', 'easier', 'nicer')}", PRAISE),
                (f"I never get {self.of('tired', 'bored')} of {self.things()}", PRAISE),
            )
        )
        return text, sure

    def contrast(self) -> tuple[str, float]:
        positive = self._chance.random() < EVEN
        first = self.of(*(BAD if positive else GOOD))
        last = self.of(*(GOOD if positive else BAD))
        praise = self.of(*(LIKED if positive else DISLIKED))
        joint = self.of(" but", " but", " yet", ", but", " and yet", "; however,")
        one, two = self.noun(), self.noun()
        shortfall = self.of(*(FAULTS if positive else MERITS))
        text = self.of(
            f"the {one} {self.is_()} {first}{joint} the {two} {self.is_()} {last}",
            f"{self.thing()} {self.is_()} {first}{joint} {last}",
            f"{first} {one}{joint} {last} {two}",
            f"{first} but {last}",
            f"although the {one} {self.is_()} {first}, the {two} {self.is_()} {last}",
            f"though {first}, {self.thing()} {self.is_()} {last}",
            f"despite {self.article(first)} {one}, {self.thing()} {self.is_()} {last}",
            f"despite its {shortfall}, {self.thing()} {self.is_()} {last}",
            f"the {one} looks {first}, but I {praise} {self.thing()}",
            f"the {one} starts {first} but ends {last}",
            f"{first} at first, but {last} in the end",
            f"I expected {self.article(first)} {one}, but {self.thing()} {self.is_()} {last}",
        )
        return text, LAST_CLAUSE_GOOD if positive else LAST_CLAUSE_BAD

    def use(self) -> tuple[str, float]:
        noun, time = (
            self.of(*GOODS),
            self.of("a day", "two days", "a month", "one hour", "two months"),
        )
        positive = self._chance.random() < EVEN
        if positive:
            text = self.of(
                f"the {noun} works {self.of('well', 'perfectly', 'great', 'fine', 'as expected')}",
                f"this {noun} works",
                "it just works",
                f"the {noun} still works after {time}",
                f"easy to {self.of('use', 'clean', 'set up', 'carry', 'read')}",
                f"the {noun} is easy to {self.of('use', 'clean', 'set up', 'carry', 'read')}",
                f"{self.of('well', 'definitely')} worth {self.of('the money', 'buying', 'seeing')}",
                f"the {noun} does {self.of('its job', 'what it should', 'exactly what I need')}",
                f"I {self.of('highly', 'strongly', 'happily')} recommend this {self.noun()}",
                f"I would {self.of('gladly', 'happily', 'certainly')} buy this {noun} again",
                f"the {noun} arrived {self.of('on time', 'early', 'in perfect condition')}",
                f"the {noun} lasts {self.of('long', 'for days', 'for years', 'for hours')}",
                f"the best {self.noun()} I have ever {self.of('had', 'seen', 'bought')}",
                f"my {noun} has never {self.of('failed', 'crashed', 'broken', 'stopped')}",
            )
            return text, PRAISE
        text = self.of(
            f"the {noun} does not work",
            f"the {noun} doesn't work {self.of('at all', 'any more', 'as promised', 'properly')}",
            f"this {noun} never worked",
            f"the {noun} stopped working after {time}",
            f"the {noun} broke after {time}",
            f"my {noun} {self.of('failed', 'crashed', 'broke', 'cracked', 'died')} within {time}",
            f"hard to {self.of('use', 'clean', 'set up', 'carry', 'read')}",
            f"the {noun} is {self.of('hard', 'impossible')} to {self.of('use', 'clean', 'set up')}",
            f"{self.of('a waste of', 'not worth the')} {self.of('money', 'time', 'effort')}",
            f"I {self.of('returned', 'sent back', 'threw away')} the {noun}",
            f"I want {self.of('a refund', 'a replacement')} for this {noun}",
            f"do not {self.of('buy', 'trust', 'order')} this {noun}",
            f"{self.of('stay away from', 'avoid', 'skip')} this {self.noun()}",
            f"the {noun} arrived {self.of('late', 'broken', 'damaged', 'with a scratch')}",
            f"the {noun} keeps {self.of('freezing', 'crashing', 'failing', 'overheating')}",
            f"the worst {self.noun()} I have ever {self.of('had', 'seen', 'bought')}",
            f"the {self.of('cover', 'lid', 'plug')} was {self.of('missing', 'cracked', 'loose')}",
        )
        return text, BLAME

    def finished(self, text: str) -> str:
        """Give a text its capital, mostly, and its ending."""
        dressed = text if self._chance.random() < UNCAPITALISED_SHARE else text[0].upper() + text[1:]
        return " ".join(dressed.split()) + self.of(*ENDINGS)


def templated_examples(*, count: int, seed: int) -> tuple[Example, ...]:
    """Draw ``count`` sentences and return the distinct ones; one ``seed`` always gives the same."""
    sentences = _Sentences(seed)
    kinds_and_shares = (
        (sentences.plain, 0.2),
        (sentences.merit_denied, 0.25),
        (sentences.fault_denied, 0.25),
        (sentences.contrast, 0.15),
        (sentences.use, 0.15),
    )
    made: dict[str, float] = {}
    for draw, share in kinds_and_shares:
        for _ in range(round(count * share)):
            text, positive = draw()
            made.setdefault(sentences.finished(text), positive)
    return tuple(Example(text=text, positive=positive) for text, positive in made.items())
