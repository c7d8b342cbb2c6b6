"""Which maps an exported graph can be asked for, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping

from rollcall.backends.onnx.open_session import OpenSession
from rollcall.domain.maps import MEASURED_MAPS, MapKind, MissingMap

NO_GRADIENTS, NO_LAYERS = "ONNX Runtime computes no gradients.", "An exported graph does not tell its layers' weights."
LACKING = {
    MapKind.GRADIENT_ROLLOUT: NO_GRADIENTS,
    MapKind.INPUT_X_GRADIENT: NO_GRADIENTS,
    MapKind.INTEGRATED_GRADIENTS: NO_GRADIENTS,
    MapKind.DECOMPOSITION: NO_LAYERS,
}
"""Maps that cannot be made of an exported graph, and why."""
THROUGH_LAYERS = (MapKind.ATTENTION_ROLLOUT, MapKind.NORM_ROLLOUT, MapKind.ATTENTION_FLOW)


def offered(opened: OpenSession | None, problem: str) -> tuple[tuple[MapKind, ...], tuple[MissingMap, ...]]:
    """Maps that are offered, and those that are not; attention that is not open has a `problem`."""
    why = _lacking(opened, problem)
    missing = tuple(MissingMap(kind=kind, reason=reason, late=False) for kind, reason in why.items())
    return tuple(kind for kind in MapKind if kind not in why), missing


def _lacking(opened: OpenSession | None, problem: str) -> Mapping[MapKind, str]:
    if opened is None:
        closed = f"Attention of this graph cannot be opened: {problem}"
        return {kind: closed for kind in MapKind if kind not in MEASURED_MAPS}
    if opened.pooled:
        return LACKING | dict.fromkeys(THROUGH_LAYERS, opened.without)
    if not opened.blocks:
        return LACKING | {MapKind.NORM_ROLLOUT: f"What this graph makes of its values was not found: {opened.without}"}
    return LACKING
