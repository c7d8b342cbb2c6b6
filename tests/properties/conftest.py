"""How the laws are tried: the same examples every time, or new ones with `--hypothesis-profile=explore`.

The toys are too small for more than one thread.
"""

from __future__ import annotations

import torch
from hypothesis import settings

torch.set_num_threads(1)

settings.register_profile("fixed", deadline=None, database=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
if settings.get_current_profile_name() not in {"fixed", "explore"}:
    settings.load_profile("fixed")
