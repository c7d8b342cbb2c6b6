"""Measure inputs of a file one after the other, with a journal and a progress bar, until enough of them have reach."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tqdm import tqdm

from rollcall.domain.errors import InvalidInput
from rollcall.domain.inputs import ModelInput
from rollcall.studies.cases import Case, case_of, from_json, to_json
from rollcall.studies.journal import Journal
from rollcall.studies.laboratory import Extra, Laboratory


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is measured: inputs in the order in which they are taken, each under its number in the data.

    It is over when `reached` of them have reach, or `most` have been measured, or there are no more.
    """

    inputs: Sequence[tuple[int, ModelInput]]
    reached: int | None = None
    most: int | None = None
    truth: bool = True

    def enough(self, cases: Sequence[Case]) -> bool:
        """Whether it is over."""
        if self.most is not None and len(cases) >= self.most:
            return True
        return self.reached is not None and sum(case.reached for case in cases) >= self.reached


ExtraOf: TypeAlias = Callable[[int, Sequence[Case]], Extra | None]
"""Maps that nobody serves of the input with this number, given what was measured before it."""


def measure_all(
    laboratory: Laboratory,
    work: Work,
    journal: Path,
    *,
    label: str,
    quiet: bool = False,
    extra: ExtraOf = lambda *_: None,
) -> tuple[Case, ...]:
    """Measure, or read from the journal what was measured before. Inputs that the model refuses are left out.

    `extra` makes the maps of an input that nobody serves. What comes out does not depend on what was in the journal. A
    journal of other weights, another policy or other maps is refused: JournalError.
    """
    subject = {
        "model": laboratory.model.digest,
        "dtype": laboratory.model.backend.dtype,
        "policy": laboratory.policy.digest,
        "calibration": laboratory.calibration.id if laboratory.calibration else None,
        "maps": [kind.value for kind in laboratory.kinds],
        "truth": work.truth,
    }
    with Journal(journal, subject) as lines:
        known = {line["number"]: None if "refused" in line else from_json(line) for line in lines.done}
        cases: list[Case] = []
        total = work.reached or min(len(work.inputs), work.most or len(work.inputs))
        with tqdm(total=total, desc=label, unit="input", disable=quiet, file=sys.stderr) as bar:
            for number, one in work.inputs:
                if work.enough(cases):
                    break
                if number not in known:
                    known[number] = _measure(laboratory, work, number, one, extra(number, cases), lines)
                case = known[number]
                if case is not None:
                    cases.append(case)
                    bar.update(int(case.reached or not work.reached))
    return tuple(cases)


def _measure(
    laboratory: Laboratory, work: Work, number: int, one: ModelInput, extra: Extra | None, lines: Journal
) -> Case | None:
    """Measure one input and write it down; None where the model refuses it."""
    try:
        case = case_of(laboratory.measure(one, extra, truth=work.truth), number)
    except InvalidInput as error:
        lines.add({"number": number, "refused": [violation.field for violation in error.violations]})
        return None
    lines.add(to_json(case))
    return case
