/**
 * What can go wrong, with the blame in the type.
 *
 * RollcallError
 * ├── CallerError            the request is at fault: asking again does not help
 * │   ├── InvalidArgument    a field is wrong; `violations` names it
 * │   ├── NotFound           no such model; `resource` names it
 * │   ├── FailedPrecondition this model or service cannot do that; `violations` says what is missing
 * │   ├── AccessDenied       no credentials, wrong ones, or not allowed
 * │   └── Cancelled          the call was cancelled, by its signal or by closing the client
 * ├── CapacityError          too much to do: asking later may help; `retryAfterMs` says when
 * │   ├── Unavailable        loading, draining, overloaded or unreachable
 * │   ├── DeadlineExceeded   the time given was not enough
 * │   └── QuotaExceeded      a quota, a size limit or device memory is used up
 * └── ServiceError           the service is at fault
 *     ├── Internal           a bug; `errorId` finds it in the service's log
 *     ├── InvalidAnswer      the service answered, but its answer contradicts itself
 *     └── Unknown            anything else
 *
 * An answer that could not decide is no error: its flag is INCONCLUSIVE.
 */

import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import { type Metadata, type ServiceError as GrpcError, status } from "@grpc/grpc-js";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

/** A field, or what a precondition is about, and what is wrong with it. */
export interface Violation {
  readonly field: string;
  readonly description: string;
}

/** What a failure says beyond its code. What was not said is empty, or undefined. */
export interface Told {
  readonly code: string;
  readonly requestId: string;
  readonly violations: readonly Violation[];
  readonly resource: string;
  readonly retryAfterMs: number | undefined;
  readonly errorId: string;
}

/** A call failed; `cause` is the error of the layer below. */
export class RollcallError extends Error implements Told {
  /** The gRPC status by name, e.g. "NOT_FOUND". */
  readonly code: string;
  /** Finds the request in the service's log; "" for calls that carry none. */
  readonly requestId: string;
  readonly violations: readonly Violation[];
  readonly resource: string;
  readonly retryAfterMs: number | undefined;
  readonly errorId: string;

  constructor(message: string, told: Partial<Told> & { readonly code: string }, options?: ErrorOptions) {
    super(`${told.code}: ${message}`, options);
    this.name = new.target.name;
    this.code = told.code;
    this.requestId = told.requestId ?? "";
    this.violations = told.violations ?? [];
    this.resource = told.resource ?? "";
    this.retryAfterMs = told.retryAfterMs;
    this.errorId = told.errorId ?? "";
  }
}

export class CallerError extends RollcallError {}
export class InvalidArgument extends CallerError {}
export class NotFound extends CallerError {}
export class FailedPrecondition extends CallerError {}
export class AccessDenied extends CallerError {}
export class Cancelled extends CallerError {}

export class CapacityError extends RollcallError {}
export class Unavailable extends CapacityError {}
export class DeadlineExceeded extends CapacityError {}
export class QuotaExceeded extends CapacityError {}

export class ServiceError extends RollcallError {}
export class Internal extends ServiceError {}
export class InvalidAnswer extends ServiceError {}
export class Unknown extends ServiceError {}

const TABLE: ReadonlyMap<status, typeof RollcallError> = new Map<status, typeof RollcallError>([
  [status.INVALID_ARGUMENT, InvalidArgument],
  [status.OUT_OF_RANGE, InvalidArgument],
  [status.NOT_FOUND, NotFound],
  [status.FAILED_PRECONDITION, FailedPrecondition],
  [status.UNIMPLEMENTED, FailedPrecondition],
  [status.UNAUTHENTICATED, AccessDenied],
  [status.PERMISSION_DENIED, AccessDenied],
  [status.CANCELLED, Cancelled],
  [status.UNAVAILABLE, Unavailable],
  [status.DEADLINE_EXCEEDED, DeadlineExceeded],
  [status.RESOURCE_EXHAUSTED, QuotaExceeded],
  [status.INTERNAL, Internal],
  [status.DATA_LOSS, Internal],
]);

/** The typed error of a failed call. What is no failure of a call comes back as it is. */
export function failureFrom(error: unknown, requestId: string): unknown {
  if (!isGrpcError(error)) return error;
  const kind = TABLE.get(error.code) ?? Unknown;
  const told = {
    ...details(error.metadata),
    code: status[error.code] ?? "UNKNOWN",
    requestId: text(error.metadata, "x-request-id") || requestId,
  };
  return new kind(error.details || "the service gave no message", told, { cause: error });
}

function isGrpcError(error: unknown): error is GrpcError {
  return error instanceof Error && "code" in error && typeof error.code === "number" && "metadata" in error;
}

/** google.rpc details from the trailer; bytes that cannot be read count as nothing said, so that they hide nothing. */
function details(trailers: Metadata): Partial<Told> {
  const [packed] = trailers.get("grpc-status-details-bin");
  if (!(packed instanceof Uint8Array)) return {};
  try {
    return unpacked(fromBinary(StatusSchema, packed).details);
  } catch {
    return {};
  }
}

function unpacked(packed: readonly Any[]): Partial<Told> {
  const find = <T>(unpack: (any: Any) => T | undefined): T | undefined =>
    packed.map(unpack).find((found) => found !== undefined);
  const bad = find((any) => anyUnpack(any, BadRequestSchema))?.fieldViolations ?? [];
  const unmet = find((any) => anyUnpack(any, PreconditionFailureSchema))?.violations ?? [];
  const quota = find((any) => anyUnpack(any, QuotaFailureSchema))?.violations ?? [];
  const delay = find((any) => anyUnpack(any, RetryInfoSchema))?.retryDelay;
  return {
    violations: [
      ...bad.map(({ field, description }) => ({ field, description })),
      ...[...unmet, ...quota].map(({ subject, description }) => ({ field: subject, description })),
    ],
    resource: find((any) => anyUnpack(any, ResourceInfoSchema))?.resourceName ?? "",
    retryAfterMs: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
    errorId: find((any) => anyUnpack(any, ErrorInfoSchema))?.metadata["error_id"] ?? "",
  };
}

function text(metadata: Metadata, key: string): string {
  const [value] = metadata.get(key);
  return typeof value === "string" ? value : "";
}
