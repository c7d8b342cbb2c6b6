"""The studies of papers, in the order of the argument. Their modules are imported when they run: they are heavy."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rollcall.studies.papers.frame import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A study's name on the command line, the question in a few words, and the module that holds its STUDY."""

    name: str
    question: str
    module: str

    def load(self) -> Study:
        """Import the study."""
        found: Study = import_module(self.module).STUDY
        return found


ENTRIES: Final[tuple[Entry, ...]] = (
    Entry(
        name="jain-wallace",
        question="Jain and Wallace 2019: attention against other measures, and other attention with the same answer",
        module="rollcall.studies.papers.jain_wallace.study",
    ),
    Entry(
        name="serrano-smith",
        question="Serrano and Smith 2019: does the decision hang on what has the largest weights?",
        module="rollcall.studies.papers.serrano_smith.study",
    ),
    Entry(
        name="wiegreffe-pinter",
        question="Wiegreffe and Pinter 2019: when is attention evidence? adversaries beside other seeds",
        module="rollcall.studies.papers.wiegreffe_pinter.study",
    ),
    Entry(
        name="vashishth",
        question="Vashishth et al. 2019: which tasks need their attention",
        module="rollcall.studies.papers.vashishth.study",
    ),
    Entry(
        name="abnar-zuidema",
        question="Abnar and Zuidema 2020: rollout and flow against raw attention, by layer",
        module="rollcall.studies.papers.abnar_zuidema.study",
    ),
    Entry(
        name="pruthi",
        question="Pruthi et al. 2020: attention that was taught to mislead, and which check notices",
        module="rollcall.studies.papers.pruthi.study",
    ),
    Entry(
        name="heads",
        question="Michel et al. 2019 and after: which heads matter, how many can go, attention's share of a decision",
        module="rollcall.studies.papers.heads.study",
    ),
    Entry(
        name="counterfactual",
        question="Kaushik et al. 2020 and after: flip sets and maps against people's edits; how steady maps are",
        module="rollcall.studies.papers.counterfactual.study",
    ),
)
