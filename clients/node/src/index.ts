/** Ask a Rollcall service what a model decided, where it looked, and whether that picture may be relied on. */

export * from "./client.js";
export {
  AccessDenied,
  CallerError,
  Cancelled,
  CapacityError,
  DeadlineExceeded,
  FailedPrecondition,
  Internal,
  InvalidAnswer,
  InvalidArgument,
  NotFound,
  QuotaExceeded,
  RollcallError,
  ServiceError,
  type Told,
  Unavailable,
  Unknown,
  type Violation,
} from "./errors.js";
export * from "./reading.js";
export type { CallOptions, ClassName, ExplainOptions, Input, NamedWord, PredictOptions } from "./options.js";
export * from "./gen/rollcall/v1/common_pb.js";
export * from "./gen/rollcall/v1/explanation_pb.js";
export * from "./gen/rollcall/v1/model_pb.js";
export type { PredictResponse, Progress } from "./gen/rollcall/v1/explanation_service_pb.js";
