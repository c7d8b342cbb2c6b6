"""A record as people read it: its verdict first, then the decision, and where it stands in the log. Pure.

Only the envelope is shown: nothing is decrypted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollcall.audit.queries import Kept


def lines(kept: Kept, body: dict[str, Any], checkpoint_size: int) -> Iterator[str]:
    """Say what a record says; `body` is its envelope, read."""
    decided, signed = body["prediction"], kept.leaf_index < checkpoint_size
    facts = _judged(body) | {
        "decision": f"{decided['predicted']}, {decided['probabilities'][decided['predicted_index']]}",
        "reported": "another decision than this one" if body["request"]["reported"]["mismatch"] else "nothing else",
        "model": f"{body['model']['name']} {body['model']['digest']}",
        **_explained(body),
        "made": f"{body['created_at']} by {body['server']['instance']}, its number {body['server']['sequence']}",
        "names": ", ".join(each["kind"] for each in body["integrity"].get("references", [])) or "nobody",
        "kept": f"{body['governance']['mode']}: {_kept(kept)}",
        "in the log": f"index {kept.leaf_index}, "
        + (f"under the checkpoint over {checkpoint_size} entries" if signed else "not signed yet"),
    }
    yield kept.record_id
    yield from (f"  {name:18}{fact}" for name, fact in facts.items())


def _judged(body: dict[str, Any]) -> dict[str, str]:
    verdict = body["verdict"]
    if verdict is None:
        return {"verdict": "none: a decision that was not explained"}
    notice = "yes" if verdict["usable_for_notice"] else f"no, because of: {', '.join(verdict['blocked_by'])}"
    reason = "" if verdict["reason"] == "none" else f" ({verdict['reason']})"
    return {
        "verdict": f"{verdict['flag'].upper()}{reason} of the map {verdict['map']}",
        "usable for notice": f"{notice} (rule {verdict['rule']})",
    }


def _explained(body: dict[str, Any]) -> dict[str, str]:
    if body["verdict"] is None:
        return {}
    maps = body["explanation"]["maps"]
    return {
        "maps": "; ".join(f"{found['map']} {found['verdict']['flag']}" for found in maps),
        "calibration": maps[0]["verdict"]["calibration"]["id"],
        "policy": f"{body['policy']['id']} {body['policy']['digest']}",
        "seed and rows": f"{body['explanation']['seed']}, {body['cost']['rows']} rows",
        "explanation": body["explanation_id"],
    }


def _kept(kept: Kept) -> str:
    if kept.wrapped_key is None:
        return "erased"
    sizes = (f"{sealed.kind} {len(sealed.ciphertext)} bytes" for sealed in kept.payloads)
    return "encrypted " + ", ".join(sorted(sizes))
