"""`rollcall models verify`: what a server would serve of a repository, and what it would not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rollcall.domain.errors import RollcallError
from rollcall.domain.model import ModelCard
from rollcall.loader import prove
from rollcall.models.repository import read_repository
from rollcall.settings import LimitSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """What was found of one revision, or of a place that is none; a `problem` where it cannot be served."""

    place: str
    model: str = ""
    revision: str = ""
    digest: str = ""
    serves: str = ""
    problem: str = ""

    def __str__(self) -> str:
        """One line."""
        if self.problem:
            return f"REJECTED  {self.place}: {self.problem}"
        return f"ok        {self.model} {self.revision}: {self.digest}, {self.serves}"

    def to_dict(self) -> dict[str, str]:
        """What there is to say."""
        return {name: value for name, value in asdict(self).items() if value}


def prove_repository(directory: Path) -> Iterator[Proved]:
    """Load and prove every revision, as a server would. Raises OSError where the directory cannot be read."""
    contents = read_repository(directory)
    for mistake in contents.mistakes:
        yield Proved(place=mistake.place, problem=mistake.problem)
    for spec in (spec for specs in contents.revisions.values() for spec in specs):
        try:
            card = prove(spec, LimitSettings()).card
        except RollcallError as error:
            yield Proved(place=str(spec.path), model=spec.name, revision=spec.revision, problem=str(error))
        else:
            yield Proved(
                place=str(spec.path),
                model=spec.name,
                revision=spec.revision,
                digest=card.ref.digest,
                serves=serves(card),
            )


def serves(card: ModelCard) -> str:
    """Whether a model is explained, and what its flags promise."""
    failed = [test.name for test in card.self_tests if test.required and not test.passed]
    return "predictions only: " + ", ".join(failed) if failed else f"calibration {card.calibration.id}"
