"""An architecture without a row of its own, read by the row of another that is built like it: setting `family`.

The row says where attention is and what else is where; the self-tests prove what is done with attention on these very
weights, as for every model. What they do not prove of themselves is proved here: that the classifier reads the token
whose attention is explained, and that the values go through the projections and norms that the row names, which
the exact decomposition shows. What cannot be shown is not offered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import Modality
from rollcall.domain.maps import MapKind, MissingMap
from rollcall.domain.model import SelfTest
from rollcall.models.families import FAMILIES, Family

READOUT_PROOF = "readout_row_suffices"
"""The test that fails where a classifier reads more than the first token."""
VALUES_PROOF = "decomposition_is_exact"


def row_for(model_type: str, named: str) -> Family:
    """The row named for a model type; raises ModelRejected."""
    row = FAMILIES.get(named)
    if model_type in FAMILIES:
        message = f"family is for architectures without a row of their own, and {model_type} has one"
        raise ModelRejected(message)
    if row is None or row.modality is Modality.IMAGE:
        texts = (key for key, each in FAMILIES.items() if each.modality is Modality.TEXT)
        message = f"family {named!r} is none that an architecture can be read as: {', '.join(texts)}"
        raise ModelRejected(message)
    return replace(row, title=f"{model_type}, read as {row.title}")


@contextmanager
def refusing_others(directory: Path, named: str) -> Iterator[None]:
    """Make whatever goes wrong while a row is `named` for a model ModelRejected: it is of another making."""
    try:
        yield
    except ModelRejected:
        raise
    except Exception as error:
        if not named:
            raise
        message = f"{directory}: family: it is not built as {named} is: {type(error).__name__}: {error}"
        raise ModelRejected(message) from error


def with_paths_of(family: Family, named: str, model: Any) -> Family:  # noqa: ANN401 - every family has a class of its own
    """The row with the model's own name in its paths, in the place of the one that is `named` for it."""
    if not named:
        return family
    own = {
        part: path.replace(f"{named}.", f"{model.base_model_prefix}.", 1)
        for part in ("head_in", "head_out")
        if (path := getattr(family.layout, part)).startswith(f"{named}.")
    }
    return replace(family, layout=replace(family.layout, **own))


def require_inputs(config: Any, family: Family, named: str) -> None:  # noqa: ANN401 - likewise
    """Refuse a model that tells texts of a pair apart under a named row that does not; raises ModelRejected."""
    types = getattr(config, "type_vocab_size", 1) or 1
    if named and types > 1 and not family.takes_type_ids and not family.causal:
        message = f"family: {config.model_type} knows {types} types of tokens, which {family.title} would leave out"
        raise ModelRejected(message)


def require_readout(self_tests: tuple[SelfTest, ...], family: Family) -> None:
    """Refuse a classifier that has not been shown to read the first token alone; raises ModelRejected."""
    shown = any(test.name == READOUT_PROOF and test.passed for test in self_tests)
    if not shown and not family.causal:
        message = f"family: {family.title}, was not shown to classify by its first token alone ({READOUT_PROOF})"
        raise ModelRejected(message)


def not_shown(maps: tuple[MapKind, ...], self_tests: tuple[SelfTest, ...]) -> tuple[MissingMap, ...]:
    """Maps of values that were not shown to go where the row says."""
    exact = any(test.name == VALUES_PROOF and test.passed for test in self_tests)
    if exact or MapKind.NORM_ROLLOUT not in maps:
        return ()
    reason = "Without an exact decomposition nothing shows that its values go through what the named family has."
    return (MissingMap(kind=MapKind.NORM_ROLLOUT, reason=reason, late=False),)
