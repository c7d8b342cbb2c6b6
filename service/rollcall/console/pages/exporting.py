"""Exports: records with their proofs as one signed zip, for whoever asks outside of this house."""

from __future__ import annotations

from starlette.responses import Response

from rollcall.console.visiting import Visit

SECONDS = 600.0


def export(visit: Visit) -> Response:
    """Give the records that are named, or that a filter asks for; the log says who took them away, and why."""
    ids = visit.given("record_ids").split()
    found = visit.client.export(
        visit.given("reason"),
        record_ids=ids,
        text="" if ids else visit.given("q"),
        texts=visit.given("texts") == "yes",
        timeout=SECONDS,
    )
    name = f"rollcall-export-{found.header.log_index}.zip"
    return Response(
        found.zip, media_type="application/zip", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
