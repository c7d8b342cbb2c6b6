"""Places for calls that hold much memory, or a thread, for long: few, and refused where none is left."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollcall.domain.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class Places:
    """How many are taken, and what by, in words. Used from one event loop."""

    what: str
    taken: int = 0

    @contextmanager
    def place(self, *, of: int) -> Iterator[None]:
        """Hold one `of` so many for the length of a `with` block; raises Overloaded."""
        if self.taken >= of:
            message = f"{of} {self.what} are under way already"
            raise Overloaded(message)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
