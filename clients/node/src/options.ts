/** What a caller may say, and how it becomes a request. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { TargetSchema, type Target } from "./gen/rollcall/v1/common_pb.js";
import {
  type AttentionSelectionSchema,
  type AuditChoice,
  type CheckLevel,
  type ExplainRequest,
  ExplainRequestSchema,
  type IntegratedGradientsOptionsSchema,
  type MapKind,
  type RawAttentionOptionsSchema,
  type RolloutOptionsSchema,
} from "./gen/rollcall/v1/explanation_pb.js";
import { PredictRequestSchema, type PredictRequest } from "./gen/rollcall/v1/explanation_service_pb.js";

/** Of a model that labels words: the one whose label is asked for, by its number from 0, or by one of its characters. */
export type NamedWord = { readonly index: number } | { readonly character: number };

/** A text, a pair of texts that the model reads together, or a text as the model's own vocabulary ids. */
export type Input =
  | string
  | { readonly text: string; readonly pair: string }
  | { readonly text: string; readonly word: NamedWord }
  | { readonly tokens: readonly number[]; readonly word?: NamedWord };

/** A class, by its label or its index. */
export type ClassName = string | number;

/** What every call may say. */
export interface CallOptions {
  /** Milliseconds for the call and all its retries; the client's own if not given. */
  readonly timeoutMs?: number;
  /** Cancels the call. */
  readonly signal?: AbortSignal;
}

/** What a request about an input may say. */
export interface PredictOptions extends CallOptions {
  /** At most 128 printable ASCII characters, echoed and logged; made up if not given. */
  readonly requestId?: string;
  /** Name of the model; the service's default if not given. */
  readonly model?: string;
  /** Revision that must be serving. */
  readonly revision?: string;
  /** The class that the margin speaks of; the predicted class if not given. */
  readonly target?: ClassName;
  /** A class to contrast it with. */
  readonly foil?: ClassName;
  /** Decision rule; the model's own if not given. */
  readonly threshold?: { readonly label: string; readonly probability: number };
  /** What the caller calls the decision; in the record alone. */
  readonly decisionRef?: string;
  /** What the caller calls the person; in the record alone, by a keyed digest. */
  readonly subjectRef?: string;
  /** The label that the caller acted on, to be compared. */
  readonly reportedLabel?: string;
  /** The probability that the caller acted on. */
  readonly reportedScore?: number;
}

/** What a request for an explanation may say besides: fields of `ExplainRequest`, as the proto describes them. */
export interface ExplainOptions extends PredictOptions {
  readonly maps?: readonly MapKind[];
  readonly primaryMap?: MapKind;
  readonly checkLevel?: CheckLevel;
  readonly policy?: string;
  readonly maxRows?: number;
  readonly seed?: bigint;
  readonly audit?: AuditChoice;
  readonly attention?: MessageInitShape<typeof AttentionSelectionSchema>;
  readonly rawAttention?: MessageInitShape<typeof RawAttentionOptionsSchema>;
  readonly rollout?: MessageInitShape<typeof RolloutOptionsSchema>;
  readonly integratedGradients?: MessageInitShape<typeof IntegratedGradientsOptionsSchema>;
}

/** The request for a prediction. */
export function predictRequest(input: Input, requestId: string, options: PredictOptions): PredictRequest {
  const { timeoutMs: _timeout, signal: _signal, target: _target, foil: _foil, ...fields } = options;
  return create(PredictRequestSchema, { ...fields, ...common(input, requestId, options) });
}

/** The request for an explanation. */
export function explainRequest(input: Input, requestId: string, options: ExplainOptions): ExplainRequest {
  const { timeoutMs: _timeout, signal: _signal, target: _target, foil: _foil, maps = [], ...fields } = options;
  return create(ExplainRequestSchema, { ...fields, maps: [...maps], ...common(input, requestId, options) });
}

function common(input: Input, requestId: string, options: PredictOptions) {
  return {
    requestId,
    input: written(input),
    ...(options.target === undefined && options.foil === undefined ? {} : { target: target(options) }),
  };
}

function written(input: Input) {
  if (typeof input === "string") return { case: "text" as const, value: { text: input } };
  if ("tokens" in input) {
    return { case: "tokens" as const, value: { inputIds: [...input.tokens], ...word(input.word) } };
  }
  if ("pair" in input) return { case: "text" as const, value: { text: input.text, textPair: input.pair } };
  return { case: "text" as const, value: { text: input.text, ...word(input.word) } };
}

function word(named: NamedWord | undefined) {
  if (named === undefined) return {};
  const place =
    "index" in named
      ? { case: "index" as const, value: named.index }
      : { case: "character" as const, value: named.character };
  return { word: { place } };
}

function target({ target, foil }: PredictOptions): Target {
  return create(TargetSchema, {
    ...(target === undefined
      ? {}
      : { target: typeof target === "string" ? { case: "label", value: target } : { case: "classIndex", value: target } }),
    ...(foil === undefined
      ? {}
      : { foil: typeof foil === "string" ? { case: "foilLabel", value: foil } : { case: "foilClassIndex", value: foil } }),
  });
}
