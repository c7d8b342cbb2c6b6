"""gRPC failures to this package's errors, in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from rollcall_client import errors
from rollcall_client._status import read_details

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "x-request-id"

_Code = grpc.StatusCode
# Status -> (error, what it takes from the details). Statuses that are not listed become Unknown.
_TABLE: Mapping[grpc.StatusCode, tuple[Callable[..., errors.RollcallError], tuple[str, ...]]] = {
    _Code.INVALID_ARGUMENT: (errors.InvalidArgument, ("violations",)),
    _Code.OUT_OF_RANGE: (errors.InvalidArgument, ("violations",)),
    _Code.NOT_FOUND: (errors.NotFound, ("resource",)),
    _Code.FAILED_PRECONDITION: (errors.FailedPrecondition, ("violations",)),
    _Code.UNIMPLEMENTED: (errors.FailedPrecondition, ("violations",)),
    _Code.UNAUTHENTICATED: (errors.AccessDenied, ()),
    _Code.PERMISSION_DENIED: (errors.AccessDenied, ()),
    _Code.CANCELLED: (errors.Cancelled, ()),
    _Code.UNAVAILABLE: (errors.Unavailable, ("retry_after",)),
    _Code.DEADLINE_EXCEEDED: (errors.DeadlineExceeded, ("retry_after",)),
    _Code.RESOURCE_EXHAUSTED: (errors.QuotaExceeded, ("retry_after", "violations")),
    _Code.INTERNAL: (errors.Internal, ("error_id",)),
    _Code.DATA_LOSS: (errors.Internal, ("error_id",)),
}


def failure_from(error: grpc.RpcError, *, request_id: str) -> errors.RollcallError:
    """The typed error of a failed call, to be raised `from` it. The service's own request id wins over `request_id`."""
    pairs: Any = error.trailing_metadata() or ()  # The published types say neither pairs nor None.
    # Through an iterator: the metadata of older grpc.aio looks like a mapping to dict() but is none.
    trailers: dict[str, str | bytes] = dict(iter(pairs))
    trailer = trailers.get(_DETAILS_KEY)
    return failure_of(
        error.code(),
        error.details() or "",
        trailer if isinstance(trailer, bytes) else None,
        request_id=str(trailers.get(_REQUEST_ID_KEY, request_id)),
    )


def failure_of(code: grpc.StatusCode, message: str, status: bytes | None, *, request_id: str) -> errors.RollcallError:
    """The typed error of a status: its code, its message, and the google.rpc.Status that says more, if there is one."""
    details = read_details(status)
    kind, wanted = _TABLE.get(code, (errors.Unknown, ()))
    return kind(
        message or "the service gave no message",
        code=code.name,
        request_id=request_id,
        **{name: getattr(details, name) for name in wanted},
    )
