"""The models being served, as the pipeline knows them: cards, calibrations and a default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rollcall.domain.errors import InvalidInput, ModelNotFound, ModelNotReady
from rollcall.domain.model import ModelCard
from rollcall.verdict.calibration import Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model."""

    card: ModelCard
    calibration: Calibration | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Models by name, and those that are `loading` still. `default`, if any, takes requests without a model."""

    entries: Mapping[str, Entry]
    default: str | None
    loading: frozenset[str] = frozenset()

    @property
    def usual(self) -> str | None:
        """Where requests without a model go: the default, or the only model that there is."""
        names = {*self.entries, *self.loading}
        return self.default or (next(iter(names)) if len(names) == 1 else None)

    def with_model(self, entry: Entry) -> Catalog:
        """Add a model that has been loaded."""
        name = entry.card.ref.name
        return replace(self, entries={**self.entries, name: entry}, loading=self.loading - {name})

    def without_model(self, name: str) -> Catalog:
        """Take a model away."""
        return replace(self, entries={other: entry for other, entry in self.entries.items() if other != name})

    def resolve(self, name: str, revision: str = "") -> Entry:
        """Find a model; raises ModelNotFound, ModelNotReady, InvalidInput if a name is needed and missing."""
        wanted = name or self.usual
        if not wanted:
            raise InvalidInput.of(
                "model", f"required: this server has several models and no default ({', '.join(sorted(self.entries))})"
            )
        if wanted in self.loading:
            message = f"model {wanted} is loading"
            raise ModelNotReady(message)
        entry = self.entries.get(wanted)
        if entry is None:
            raise ModelNotFound(wanted[:64], f"no such model; available: {', '.join(sorted(self.entries))}")
        serving = entry.card.ref.revision
        if revision and revision != serving:
            raise ModelNotFound(wanted, f"model {wanted} is serving revision {serving or '(none)'}")
        return entry
