"""Run the service's checks on the models of the families: cases with known truth, in a journal for each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from rollcall.checks.alignment import EffectEstimate
from rollcall.checks.base import Subject
from rollcall.domain.inputs import Modality, ModelInput
from rollcall.domain.maps import DEFAULT_MAPS, MEASURED_MAPS, Floats, MapKind, UnitMap
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row, RowResult
from rollcall.domain.verdicts import Scope
from rollcall.models.loading import load_model
from rollcall.studies.cases import Case
from rollcall.studies.flag.families.base import Family, unmet
from rollcall.studies.flag.families.tampered import Tampering, tampered, unit_frequencies
from rollcall.studies.flag.members import member
from rollcall.studies.laboratory import Extra, Laboratory, Tamper
from rollcall.studies.measuring import ExtraOf, Work, measure_all
from rollcall.verdict.policies import STANDARD

STUDIED: Final = (*DEFAULT_MAPS, MapKind.INPUT_X_GRADIENT, MapKind.INTEGRATED_GRADIENTS, MapKind.DECOMPOSITION)
"""Maps that are asked for, of those that a model can make; where attention cannot be opened, also MEASURED_MAPS."""
TAMPERED_WITH: Final = (MapKind.GRADIENT_ROLLOUT, MapKind.LEAVE_ONE_OUT)
"""The map that tampered ones are made of: the first that is studied."""
FAULTY: Final = "honest"
"""The family on whose first model faults are injected."""
FAULTY_INPUTS: Final = 12


class MissingMemberError(ValueError):
    """A model is not what its family claims, or cannot be explained; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One model's cases. `fault` names what was injected, if anything."""

    family: Family
    seed: int
    accuracy: float
    cases: tuple[Case, ...] = field(repr=False)
    fault: str = ""

    @property
    def name(self) -> str:
        """The family's, or what was done to it."""
        return f"fault: {self.fault}" if self.fault else self.family.name


def poisoned(result: RowResult, row: Row, _: RowResult) -> RowResult:
    """Rows with something removed answer NaN."""
    return replace(result, logits=result.logits * np.nan) if row.removed is not None else result


def disconnected(result: RowResult, row: Row, untouched: RowResult) -> RowResult:
    """Edits of attention get lost, as with a hook that a compiler has optimised away."""
    edited = row.edit is not AttentionEdit.NONE or (
        row.removed is not None and row.operator is RemovalOperator.HIDDEN_KEYS
    )
    return replace(untouched, maps=result.maps) if edited else result


FAULTS: Final[dict[str, Tamper]] = {"NaN in the removals": poisoned, "disconnected hooks": disconnected}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Where models are kept, where data lies, and where cases go."""

    cache: Path
    data: Path | None
    out: Path
    quiet: bool = False

    def lacks(self, family: Family) -> tuple[str, ...]:
        """What a family needs and is not there: its data, packages."""
        has_data = family.data is None or (self.data is not None and (self.data / family.data).is_dir())
        missing = (f"package {name}" for name in family.packages if find_spec(name) is None)
        return (*(() if has_data else (f"--data {family.data}",)), *missing)

    def finished(self, family: Family, seed: int, inputs: int) -> bool:
        """Whether so many inputs of a model have been measured."""
        journal = self._journal(family, seed)
        return journal.exists() and len(journal.read_bytes().splitlines()) > inputs

    def measure(self, family: Family, seed: int, inputs: int, *, fault: str = "") -> Measured:
        """Build or load one model and measure its inputs. Raises MissingMemberError, JournalError, OSError."""
        data = None if family.data is None or self.data is None else self.data / family.data
        found = member(family, seed=seed, inputs=inputs, data=data, cache=self.cache)
        model = load_model(found.directory, tokens=found.tokens)
        lacking = unmet(family.claims, found) + tuple(f"self-test {name} failed" for name in model.failed)
        if lacking:
            message = f"the model of {family.name} with seed {seed} is not one of its family: {'; '.join(lacking)}"
            raise MissingMemberError(message)
        studied = STUDIED if model.scope is Scope.ALL_LAYERS else (*STUDIED, *MEASURED_MAPS)
        laboratory = Laboratory(
            model=model, policy=STANDARD, kinds=tuple(kind for kind in studied if kind in model.maps)
        )
        if fault:
            laboratory = replace(laboratory, tamper=FAULTS[fault])
        numbered = list(enumerate(found.inputs[:inputs]))
        cases = measure_all(
            laboratory,
            Work(inputs=numbered),
            self._journal(family, seed, fault),
            label=f"{family.name} {seed} {fault}".strip(),
            quiet=self.quiet,
            extra=tampering(laboratory, found.inputs[:inputs], seed=seed),
        )
        return Measured(family=family, seed=seed, accuracy=found.accuracy, cases=cases, fault=fault)

    def _journal(self, family: Family, seed: int, fault: str = "") -> Path:
        return self.out / "cases" / f"{family.name}-{seed}{'-' + fault.replace(' ', '-') if fault else ''}.jsonl"


def tampering(laboratory: Laboratory, inputs: Sequence[ModelInput], *, seed: int) -> ExtraOf:
    """Tampered maps of each input: of its own map, the true effects, its words' frequencies and the map before it.

    Blocks of a picture are no words, and have no frequencies.
    """
    texts = [[unit.text for unit in laboratory.model.backend.encode(one).units] for one in inputs]
    frequencies = unit_frequencies(texts)
    kind = next(kind for kind in TAMPERED_WITH if kind in laboratory.kinds)

    def of(number: int, cases: Sequence[Case]) -> Extra:
        before = [np.array(case.maps[kind.value].weights) for case in cases[-1:]]

        def make(subject: Subject, maps: tuple[UnitMap, ...], effects: EffectEstimate | None) -> dict[str, Floats]:
            own = next((found.scores for found in maps if found.kind is kind), None)
            usable = own is not None and np.isfinite(own).all() and own.sum() > 0
            if own is None or not usable or subject.n != len(frequencies[number]):
                return {}
            other = before[0] if before and np.isfinite(before[0]).all() and before[0].sum() > 0 else np.ones(subject.n)
            found = tampered(
                own,
                effects=np.zeros(subject.n) if effects is None else effects.effects,
                other=other,
                frequencies=frequencies[number],
                seed=seed * 1_000_003 + number,
            )
            wordless = subject.encoding.modality is Modality.IMAGE
            left_out = {Tampering.WORD_FREQUENCY} if wordless else set()
            return {one.value: weights for one, weights in found.items() if one not in left_out}

        return make

    return of
