"""What can go wrong, with the blame in the type.

RollcallError
├── CallerError             the request is at fault: asking again does not help
│   ├── InvalidArgument     a field is wrong; `violations` names it
│   ├── NotFound            no such model; `resource` names it
│   ├── FailedPrecondition  this model or service cannot do that; `violations` says what is missing
│   ├── AccessDenied        no credentials, wrong ones, or not allowed
│   └── Cancelled           the call was cancelled, for instance by closing the client
├── CapacityError           too much to do: asking later may help
│   ├── Unavailable         loading, draining, overloaded or unreachable; `retry_after` says how long to wait
│   ├── DeadlineExceeded    the time given was not enough
│   └── QuotaExceeded       a quota, a size limit or device memory is used up
└── ServiceError            the service is at fault
    ├── Internal            a bug; `error_id` finds it in the service's log
    ├── InvalidAnswer       the service answered, but its answer contradicts itself
    └── Unknown             anything else

An answer that could not decide is no error: it is an Explanation whose flag is INCONCLUSIVE.
"""

from __future__ import annotations


class RollcallError(Exception):
    """A call failed. `__cause__` holds the error of the layer below.

    `code` is the gRPC status by name, e.g. "NOT_FOUND"; `message` is meant for people; `request_id` finds the request
    in the service's log ("" for calls that carry none).
    """

    def __init__(self, message: str, *, code: str, request_id: str = "") -> None:
        """Keep what every failure has."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.request_id = request_id

    def __str__(self) -> str:
        """Code and message; the request's id where there is one."""
        return f"{self.code}: {self.message}" + (f" (request {self.request_id})" if self.request_id else "")


class CallerError(RollcallError):
    """The request is at fault: asking again does not help."""


class InvalidArgument(CallerError):
    """A field is wrong. `violations` holds (field, description) for each."""

    def __init__(
        self, message: str, *, code: str, request_id: str = "", violations: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Keep the fields at fault."""
        super().__init__(message, code=code, request_id=request_id)
        self.violations = violations


class NotFound(CallerError):
    """There is no such model. `resource` is its name, "" if the service did not say."""

    def __init__(self, message: str, *, code: str, request_id: str = "", resource: str = "") -> None:
        """Keep the name that was not found."""
        super().__init__(message, code=code, request_id=request_id)
        self.resource = resource


class FailedPrecondition(CallerError):
    """This model or service cannot do that. `violations` holds (subject, description) for each missing condition."""

    def __init__(
        self, message: str, *, code: str, request_id: str = "", violations: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Keep what is missing."""
        super().__init__(message, code=code, request_id=request_id)
        self.violations = violations


class AccessDenied(CallerError):
    """No credentials, wrong ones, or not allowed."""


class Cancelled(CallerError):
    """The call was cancelled, for instance by closing the client."""


class CapacityError(RollcallError):
    """Too much to do: asking later may help. `retry_after` is the service's advice in seconds, None if it gave none."""

    def __init__(self, message: str, *, code: str, request_id: str = "", retry_after: float | None = None) -> None:
        """Keep the service's advice."""
        super().__init__(message, code=code, request_id=request_id)
        self.retry_after = retry_after


class Unavailable(CapacityError):
    """Loading, draining, overloaded or unreachable. The client asked again as often as it may."""


class DeadlineExceeded(CapacityError):
    """The time given was not enough."""


class QuotaExceeded(CapacityError):
    """A quota, a size limit or device memory is used up. `violations` holds (subject, description) for each."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        request_id: str = "",
        retry_after: float | None = None,
        violations: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Keep what is used up."""
        super().__init__(message, code=code, request_id=request_id, retry_after=retry_after)
        self.violations = violations


class ServiceError(RollcallError):
    """The service is at fault."""


class Internal(ServiceError):
    """A bug. `error_id` finds it in the service's log, "" if the service gave none."""

    def __init__(self, message: str, *, code: str, request_id: str = "", error_id: str = "") -> None:
        """Keep the id."""
        super().__init__(message, code=code, request_id=request_id)
        self.error_id = error_id


class InvalidAnswer(ServiceError):
    """The service answered (`code` is "OK"), but its answer contradicts itself, so that it cannot be relied on."""


class Unknown(ServiceError):
    """Anything else."""
