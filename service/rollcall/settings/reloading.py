"""What changes while the service runs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from rollcall.settings.mistakes import Mistake, SettingsError
from rollcall.settings.sources import flatten
from rollcall.settings.whole import LiveSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """What a second reading came to: the settings now in force, and the keys that changed or would need a restart."""

    settings: Settings
    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()


def reread(current: Settings, read: Callable[[], Settings]) -> Reload:
    """Read again while running: take over the live part only, and nothing at all if `read` raises SettingsError."""
    try:
        fresh = read()
    except SettingsError as error:
        return Reload(settings=current, mistakes=error.mistakes)
    live = {f"explain.{item.name}": getattr(fresh.explain, item.name) for item in fields(LiveSettings)}
    before, after = dict(flatten(current.public())), dict(flatten(fresh.public()))
    differing = [".".join(path) for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]
    explain = replace(current.explain, **{name.removeprefix("explain."): value for name, value in live.items()})
    return Reload(
        settings=replace(current, explain=explain),
        changed=tuple(name for name in differing if name in live),
        needs_restart=tuple(name for name in differing if name not in live),
    )
