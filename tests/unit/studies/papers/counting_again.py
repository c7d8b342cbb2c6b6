"""The study that counts, under another name."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.studies.papers import counting

STUDY = replace(counting.STUDY, name="again")
