/** The client: promises for single answers, an async iterator where there is progress to hear of. */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { create, type DescMessage, type DescMethod, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import {
  type CallOptions as GrpcCallOptions,
  type ChannelCredentials,
  type ChannelOptions,
  Client as Channel,
  type ClientReadableStream,
  credentials,
  Metadata,
} from "@grpc/grpc-js";

import { failureFrom, InvalidAnswer, Unavailable } from "./errors.js";
import type { ExplainResponse } from "./gen/rollcall/v1/explanation_pb.js";
import {
  ExplanationService,
  type ExplainStreamResponse,
  GetModelRequestSchema,
  ListModelsRequestSchema,
  type PredictResponse,
  type Progress,
} from "./gen/rollcall/v1/explanation_service_pb.js";
import type { Model } from "./gen/rollcall/v1/model_pb.js";
import {
  type CallOptions,
  type ExplainOptions,
  explainRequest,
  type Input,
  type PredictOptions,
  predictRequest,
} from "./options.js";
import { waitBeforeRetry } from "./retry.js";
import { Streamed } from "./streamed.js";

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_RETRIES = 3;

/** What applies to every call of a client. */
export interface ClientOptions {
  /** Milliseconds for a call and all its retries (30,000). */
  readonly timeoutMs?: number;
  /** How often a call is tried again after UNAVAILABLE (3); every call is free of side effects. */
  readonly retries?: number;
  /** TLS; without it calls are not encrypted. */
  readonly credentials?: ChannelCredentials;
  /** Sent with every call, e.g. { authorization: "Bearer ..." }. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Options of the channel; by default it balances over all addresses of `dns:///name:port`. */
  readonly channel?: ChannelOptions;
}

/** One message of `explainStream`. */
export type Step = { readonly progress: Progress } | { readonly explanation: ExplainResponse };

/**
 * Asks one service. All methods reject with a `RollcallError`; answers are the messages of the protos.
 *
 *     const client = new Client("127.0.0.1:8001");
 *     const explanation = await client.explain("The plot is thin, but the actors are charming.");
 *     client.close();
 */
export class Client {
  readonly #channel: Channel;
  readonly #options: ClientOptions;

  constructor(target: string, options: ClientOptions = {}) {
    this.#options = options;
    this.#channel = new Channel(target, options.credentials ?? credentials.createInsecure(), {
      "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
      "grpc.max_receive_message_length": -1, // Whole attention is larger than 4 MiB; the service limits what it sends.
      ...options.channel,
    });
  }

  /** The prediction, its maps, and a flag with evidence for each map. */
  explain(input: Input, options: ExplainOptions = {}): Promise<ExplainResponse> {
    const requestId = options.requestId ?? randomUUID();
    const request = explainRequest(input, requestId, options);
    return this.#unary(ExplanationService.method.explain, request, requestId, options);
  }

  /** The prediction alone. */
  predict(input: Input, options: PredictOptions = {}): Promise<PredictResponse> {
    const requestId = options.requestId ?? randomUUID();
    const request = predictRequest(input, requestId, options);
    return this.#unary(ExplanationService.method.predict, request, requestId, options);
  }

  /**
   * The same as `explain`, with progress before the explanation, which comes last, and with attention of any size, which
   * is checked and put together. Leaving the loop cancels the call. It is not tried again: who heard of progress decides
   * whether to begin anew.
   */
  async *explainStream(input: Input, options: ExplainOptions = {}): AsyncGenerator<Step, void, undefined> {
    const requestId = options.requestId ?? randomUUID();
    const method = ExplanationService.method.explainStream;
    const call: ClientReadableStream<ExplainStreamResponse> = this.#channel.makeServerStreamRequest(
      path(method),
      (request: MessageShape<typeof method.input>) => Buffer.from(toBinary(method.input, request)),
      (bytes) => fromBinary(method.output, plain(bytes)),
      explainRequest(input, requestId, options),
      this.#metadata(),
      this.#deadline(options),
    );
    const unlisten = onAbort(options.signal, () => call.cancel());
    const streamed = new Streamed(requestId);
    try {
      for await (const message of call as AsyncIterable<ExplainStreamResponse>) {
        if (message.content.case === "progress") yield { progress: message.content.value };
        else streamed.take(message);
      }
    } catch (error) {
      throw failureFrom(error, requestId);
    } finally {
      unlisten();
      call.cancel();
    }
    yield { explanation: streamed.explanation() };
  }

  /** The models that are being served, by name. */
  async models(options: CallOptions = {}): Promise<Model[]> {
    const request = create(ListModelsRequestSchema);
    return (await this.#unary(ExplanationService.method.listModels, request, "", options)).models;
  }

  /** One model, with its limits, self-tests and calibration; the default one if no name is given. */
  async model(name = "", options: CallOptions = {}): Promise<Model> {
    const request = create(GetModelRequestSchema, { model: name });
    const { model } = await this.#unary(ExplanationService.method.getModel, request, "", options);
    if (!model) throw new InvalidAnswer("the answer has no model", { code: "OK" });
    return model;
  }

  /** Let go of the connection; calls in progress are cancelled. */
  close(): void {
    this.#channel.close();
  }

  async #unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { readonly input: I; readonly output: O },
    request: MessageShape<I>,
    requestId: string,
    options: CallOptions,
  ): Promise<MessageShape<O>> {
    const grpcOptions = this.#deadline(options);
    const retries = this.#options.retries ?? DEFAULT_RETRIES;
    for (let done = 0; ; done += 1) {
      try {
        return await this.#once(method, request, grpcOptions, options.signal);
      } catch (error) {
        const failure = failureFrom(error, requestId);
        const remainingMs = grpcOptions.deadline - Date.now();
        const wait =
          failure instanceof Unavailable && done < retries
            ? waitBeforeRetry({ done, retryAfterMs: failure.retryAfterMs, remainingMs, jitter: Math.random() })
            : undefined;
        if (wait === undefined) throw failure;
        await rest(wait, failure, options.signal);
      }
    }
  }

  #once<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { readonly input: I; readonly output: O },
    request: MessageShape<I>,
    grpcOptions: GrpcCallOptions,
    signal: AbortSignal | undefined,
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      const call = this.#channel.makeUnaryRequest(
        path(method),
        (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
        (bytes) => fromBinary(method.output, plain(bytes)),
        request,
        this.#metadata(),
        grpcOptions,
        (error, answer) => {
          unlisten();
          if (error || answer === undefined) reject(error ?? new Error("neither an answer nor an error"));
          else resolve(answer);
        },
      );
      const unlisten = onAbort(signal, () => call.cancel());
    });
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(this.#options.metadata ?? {})) metadata.set(key, value);
    return metadata;
  }

  #deadline(options: CallOptions): { deadline: number } {
    return { deadline: Date.now() + (options.timeoutMs ?? this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS) };
  }
}

/** The same bytes as a plain Uint8Array, so that every field of bytes is one. */
function plain(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

function path(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Wait before a retry; a signal ends the wait with what failed before. */
async function rest(ms: number, failure: unknown, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {});
  } catch {
    throw failure;
  }
}

/** Act once a signal is given, also if it was before; returns how to stop listening. */
function onAbort(signal: AbortSignal | undefined, act: () => void): () => void {
  if (signal?.aborted) act();
  signal?.addEventListener("abort", act, { once: true });
  return () => signal?.removeEventListener("abort", act);
}
