"""Records of models, from values to protobuf."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from rollcall.edge.converters import enums
from rollcall.v1 import model_pb2

if TYPE_CHECKING:
    from rollcall.domain.maps import MapKind
    from rollcall.domain.verdicts import Flag
    from rollcall.monitor.record import MapRecord, ModelRecord
    from rollcall.monitor.tally import Tally


def model_record(record: ModelRecord, *, alpha: float | None) -> model_pb2.ModelRecord:
    """Write a record; `alpha` is what the calibration promises, None without one."""
    return model_pb2.ModelRecord(
        since=Timestamp(seconds=record.since),
        maps=[_map_record(kind, found) for kind, found in record.maps.items()],
        promise=None if alpha is None else _promise(record, alpha),
    )


def _map_record(kind: MapKind, found: MapRecord) -> model_pb2.MapRecord:
    pooled = found.pooled
    return model_pb2.MapRecord(
        map=enums.MAP_KINDS[kind],
        requests=pooled.requests,
        flags=[model_pb2.FlagCount(flag=enums.FLAGS[flag], requests=count) for flag, count in pooled.flags.items()],
        mean_alignment=pooled.mean_alignment,
        log_e_value=pooled.log_e,
        rechecked=[_rechecked(flag, tally) for flag, tally in found.rechecked.items()],
    )


def _rechecked(flag: Flag, tally: Tally) -> model_pb2.RecheckedFlag:
    lower, upper = tally.interval
    return model_pb2.RecheckedFlag(
        flag=enums.FLAGS[flag], rechecked=tally.checked, wrong=tally.wrong, lower=lower, upper=upper
    )


def _promise(record: ModelRecord, alpha: float) -> model_pb2.KeptPromise:
    tally = record.promised
    return model_pb2.KeptPromise(
        alpha=alpha,
        answers=tally.checked,
        wrong=tally.wrong,
        lower_limit=tally.lower_limit,
        broken=record.breaks(alpha),
        since=Timestamp(seconds=record.answers[0].at) if record.answers else None,
    )
