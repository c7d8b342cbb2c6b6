"""Records come back from JSON as they were, and anything else is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import Flag
from rollcall.monitor.pooled import Pooled
from rollcall.monitor.record import Answer, Identity, MapRecord, ModelRecord
from rollcall.monitor.state import StateError, read_state, write_state
from rollcall.monitor.tally import Tally
from tests.unit.edge import samples

RECORDS = {"a": samples.record(), "b": ModelRecord(identity=Identity(digest="d", dtype="t", calibration="c"), since=0)}

counts = st.integers(0, 2**40)
tallies = counts.flatmap(lambda n: st.integers(0, n).map(lambda k: Tally(checked=n, wrong=k)))
pooled = st.builds(
    lambda flags, log_e, mean: Pooled(
        flags=flags, alignments=sum(flags.values()), alignment_sum=mean * sum(flags.values()), log_e=log_e
    ),
    st.dictionaries(st.sampled_from(Flag), counts),
    st.floats(-1e6, 1e6),
    st.floats(-1, 1),
)
map_records = st.builds(
    MapRecord, pooled=pooled, rechecked=st.dictionaries(st.sampled_from((Flag.FAITHFUL, Flag.UNFAITHFUL)), tallies)
)
records = st.builds(
    ModelRecord,
    identity=st.builds(Identity, digest=st.text(), dtype=st.text(), calibration=st.text()),
    since=counts,
    maps=st.dictionaries(st.sampled_from(MapKind), map_records),
    answers=st.lists(st.builds(Answer, at=counts, wrong=st.booleans()), max_size=20).map(tuple),
)


@given(st.dictionaries(st.text(), records, max_size=3))
def test_what_was_written_is_read(found: dict[str, ModelRecord]) -> None:
    """Nothing is lost or changed on the way to the disk and back."""
    assert read_state(write_state(found)) == found


def changed(path: str, value: object) -> str:
    """The sample state with one value replaced."""
    raw: Any = json.loads(write_state(RECORDS))
    *parents, last = path.split("/")
    place = raw
    for part in parents:
        place = place[part]
    place[last] = value
    return json.dumps(raw)


MAP = "models/a/maps/gradient_rollout"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        write_state(RECORDS)[:-40],
        changed("format", "somebody-elses-1"),
        changed("models", []),
        changed("models/a/since", -1),
        changed("models/a/since", 1.5),
        changed("models/a/digest", None),
        changed("models/a/answers", [[1, 2]]),
        changed("models/a/answers", [[1]]),
        changed("models/a/maps", {"no_such_map": {}}),
        changed(f"{MAP}/flags", {"perfect": 1}),
        changed(f"{MAP}/flags", {"faithful": True}),
        changed(f"{MAP}/log_e", "NaN"),
        changed(f"{MAP}/log_e", float("nan")),
        changed(f"{MAP}/alignments", 101),
        changed(f"{MAP}/alignment_sum", 91.0),
        changed(f"{MAP}/rechecked", {"faithful": [1, 2]}),
        changed(f"{MAP}/rechecked", {"inconclusive": [2, 1]}),
        changed(f"{MAP}/rechecked", {"faithful": [1]}),
    ],
)
def test_what_is_no_state_is_refused(text: str) -> None:
    """A file that is cut off, foreign or contradicts itself is refused with the one error that is announced."""
    with pytest.raises(StateError):
        read_state(text)
