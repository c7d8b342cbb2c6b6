"""The composition root: settings become objects, objects a server, and a process serves until it is told to stop."""

from rollcall.app.composing import Running, running
from rollcall.app.life import serve

__all__ = ["Running", "running", "serve"]
