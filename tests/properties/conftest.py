"""How the laws are tried: the same examples every time, or new ones with `--hypothesis-profile=explore`."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fixed", deadline=None, database=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
if settings.get_current_profile_name() not in {"fixed", "explore"}:
    settings.load_profile("fixed")
