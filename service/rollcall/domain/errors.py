"""Every error that Rollcall raises on purpose. Blame is in the type; nothing here knows of gRPC.

RollcallError
|- CallerError            the request is wrong, and repeating it unchanged will fail again
|  |- InvalidInput        a field is wrong (names it)
|  |- ModelNotFound       no such model or revision
|  |- RecordNotFound      the log has no such record
|  |- Blocked             something stands in the way (names it)
|  |- NotAuthenticated    nobody knows who is asking
|  |- NotPermitted        who is asking may not ask this
|  `- Unsupported         this model, backend or version cannot do what was asked
|- CapacityError          the request is right, but not now
|  |- Overloaded          the queue is full
|  |- QuotaExceeded       the tenant has used up what it may
|  |- Draining            the server is stopping
|  |- ModelNotReady       the model is loading
|  |- DeadlineTooShort    the deadline cannot be met even without checks
|  |- LogUnavailable      the log's database does not answer
|  |- RecordingFailed     the answer must be recorded and cannot be
|  |- DeviceMemory        the device ran out of memory even for the smallest batch
|  `- DeviceLost          the device does not answer any more; another server may
`- ServiceError           our fault
   |- BackendError        the model failed while running
   |- ModelRejected       a model cannot be loaded (names what is wrong; raised at load, never per request)
   `- FileRejected        a file of callers, keys or certificates cannot be used (raised at the start)

Messages are written for callers: no input text, no internal detail.
"""

from __future__ import annotations

from dataclasses import dataclass


class RollcallError(Exception):
    """Base of the tree."""


class CallerError(RollcallError):
    """The request is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """What is wrong with one field of a request, `field` being its path as in the protos, e.g. `text.text`."""

    field: str
    description: str


class InvalidInput(CallerError):
    """One or more fields are wrong; all that were found are reported together."""

    def __init__(self, *violations: FieldViolation) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = violations

    @classmethod
    def of(cls, field: str, description: str) -> InvalidInput:
        """Blame a single field."""
        return cls(FieldViolation(field=field, description=description))


class ModelNotFound(CallerError):
    """No model of this name, or not in this revision."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class RecordNotFound(CallerError):
    """The log has no record, explanation, review or entry of this name."""

    def __init__(self, message: str = "the log has no such record") -> None:
        super().__init__(message)


class Blocked(CallerError):
    """What was asked for cannot be done as things are. `subject` names in one token what stands in the way."""

    def __init__(self, subject: str, message: str) -> None:
        super().__init__(message)
        self.subject = subject


class NotAuthenticated(CallerError):
    """No credentials, or none that are known here. Messages never quote any."""


class NotPermitted(CallerError):
    """The identity has none of the roles that the call needs."""


class Unsupported(CallerError):
    """A map, check or level that this model or version cannot do. `subject` names it in one token."""

    def __init__(self, subject: str, message: str) -> None:
        super().__init__(message)
        self.subject = subject


class CapacityError(RollcallError):
    """Not now. `retry_after` is a hint in seconds."""

    retry_after: float = 1.0


class Overloaded(CapacityError):
    """Too much is waiting."""


class QuotaExceeded(CapacityError):
    """A tenant has used up what it may, and others have not. `limit` says in words what that is."""

    def __init__(self, tenant: str, limit: str, retry_after: float) -> None:
        super().__init__(f"the quota of this tenant is used up: {limit}")
        self.tenant = tenant
        self.limit = limit
        self.retry_after = retry_after


class Draining(CapacityError):
    """The server is stopping."""


class ModelNotReady(CapacityError):
    """The model is loading."""

    retry_after = 5.0


class DeadlineTooShort(CapacityError):
    """Not even the prediction fits into the time left."""


class LogUnavailable(CapacityError):
    """The log's database does not answer."""

    retry_after = 5.0


class RecordingFailed(CapacityError):
    """The answer must be recorded and there is no room, or the disk does not take it."""

    retry_after = 5.0


class DeviceMemory(CapacityError):
    """One row alone does not fit on the device."""


class DeviceLost(CapacityError):
    """The device or its thread is dead. This server will not recover; the liveness probe has it restarted."""

    retry_after = 5.0

    def __init__(self, message: str = "the device of this server does not answer any more") -> None:
        super().__init__(message)


class ServiceError(RollcallError):
    """Our fault."""


class BackendError(ServiceError):
    """The model raised while running; the cause is chained and only logged."""


class ModelRejected(ServiceError):
    """A model directory cannot be served; the message says why and what is supported."""


class FileRejected(ServiceError):
    """A file that says who may ask, or proves who this is, cannot be used; the message names it and quotes nothing."""
