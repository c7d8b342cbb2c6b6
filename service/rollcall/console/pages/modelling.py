"""Models: what is served, what was promised for its flags, and how often they were found to be wrong."""

from __future__ import annotations

from starlette.responses import Response

from rollcall.console.visiting import Visit
from rollcall_client import Flag

FLAGS = (Flag.FAITHFUL, Flag.UNFAITHFUL, Flag.INCONCLUSIVE, Flag.NOT_CHECKED)


def index(visit: Visit) -> Response:
    """List the models."""
    return visit.show("models.html", models=visit.client.models())


def show(visit: Visit) -> Response:
    """Show one model, with the measured error rate of its flags."""
    return visit.show("model.html", model=visit.client.model(visit.path("name")), flags=FLAGS)
