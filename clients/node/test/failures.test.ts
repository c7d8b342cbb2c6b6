/** Against a server that fails on purpose. */

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata, Server, ServerCredentials, status } from "@grpc/grpc-js";

import { ErrorInfoSchema, QuotaFailureSchema, RetryInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../src/gen/google/rpc/status_pb.js";
import { ListModelsResponseSchema } from "../src/gen/rollcall/v1/explanation_service_pb.js";
import { Client, flagName, Internal, QuotaExceeded, RollcallError, Unavailable, Unknown } from "../src/index.js";
import { waitBeforeRetry } from "../src/retry.js";

interface Failure {
  readonly code: status;
  readonly trailer?: Uint8Array;
}

const failures: Failure[] = [];
const seen: Metadata[] = [];
const server = new Server();
let client: Client;

before(async () => {
  server.register(
    "/rollcall.v1.ExplanationService/ListModels",
    (call: { metadata: Metadata }, reply: (error: object | null, answer?: object) => void) => {
      seen.push(call.metadata);
      const failure = failures.shift();
      if (!failure) return reply(null, {});
      const metadata = new Metadata();
      if (failure.trailer) metadata.set("grpc-status-details-bin", Buffer.from(failure.trailer));
      reply({ code: failure.code, details: "on purpose", metadata });
    },
    () => Buffer.from(toBinary(ListModelsResponseSchema, create(ListModelsResponseSchema))),
    () => ({}),
    "unary",
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  client = new Client(`127.0.0.1:${port}`, { metadata: { authorization: "Bearer t" }, timeoutMs: 5_000 });
});
beforeEach(() => {
  failures.length = 0;
  seen.length = 0;
});
after(() => {
  client.close();
  server.forceShutdown();
});

const retry = toBinary(
  StatusSchema,
  create(StatusSchema, {
    details: [anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: { nanos: 300_000_000 } }))],
  }),
);

test("an unavailable service is asked again, no sooner than it said", async () => {
  failures.push({ code: status.UNAVAILABLE, trailer: retry });
  const started = Date.now();
  assert.deepEqual(await client.models(), []);
  assert.ok(Date.now() - started >= 290);
  assert.equal(seen.length, 2);
  assert.deepEqual(seen[0]?.get("authorization"), ["Bearer t"]);
});

test("it gives up after its retries, and at once where the advice is longer than the deadline", async () => {
  failures.push(...Array<Failure>(9).fill({ code: status.UNAVAILABLE }));
  await assert.rejects(client.models(), Unavailable);
  assert.equal(seen.length, 4);
  failures.unshift({ code: status.UNAVAILABLE, trailer: retry });
  await assert.rejects(client.models({ timeoutMs: 200 }), (error: unknown) => {
    assert.ok(error instanceof Unavailable);
    assert.equal(error.retryAfterMs, 300);
    return true;
  });
  assert.equal(seen.length, 5);
});

test("other failures are not tried again, and say what they know", async () => {
  const info = create(ErrorInfoSchema, { reason: "INTERNAL", metadata: { error_id: "e1" } });
  const quota = create(QuotaFailureSchema, { violations: [{ subject: "rows", description: "used up" }] });
  const trailer = toBinary(
    StatusSchema,
    create(StatusSchema, { details: [anyPack(ErrorInfoSchema, info), anyPack(QuotaFailureSchema, quota)] }),
  );
  failures.push({ code: status.INTERNAL, trailer }, { code: status.RESOURCE_EXHAUSTED, trailer });
  await assert.rejects(client.models(), (error: unknown) => error instanceof Internal && error.errorId === "e1");
  await assert.rejects(client.models(), (error: unknown) => {
    assert.ok(error instanceof QuotaExceeded);
    assert.deepEqual(error.violations, [{ field: "rows", description: "used up" }]);
    return true;
  });
  assert.equal(seen.length, 2);
});

test("details that cannot be read hide no failure", async () => {
  failures.push({ code: status.ABORTED, trailer: new Uint8Array([255, 255, 255]) });
  await assert.rejects(client.models(), (error: unknown) => {
    assert.ok(error instanceof Unknown && error instanceof RollcallError);
    assert.deepEqual([error.name, error.code, error.violations], ["Unknown", "ABORTED", []]);
    assert.ok(error.cause instanceof Error);
    return true;
  });
});

test("waits grow, are random, and end before the deadline", () => {
  const wait = (done: number, jitter = 1, retryAfterMs?: number, remainingMs = 60_000) =>
    waitBeforeRetry({ done, jitter, retryAfterMs, remainingMs });
  assert.deepEqual([wait(0), wait(1), wait(2), wait(20)], [100, 200, 400, 5_000]);
  assert.equal(wait(0, 0), 0);
  assert.equal(wait(0, 1, 700), 700);
  assert.equal(wait(0, 1, 700, 600), undefined);
});

test("a flag of a newer service is not taken for another", () => {
  assert.equal(flagName(99 as never), "UNKNOWN_99");
});
