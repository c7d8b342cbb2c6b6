/** Against a real server: ROLLCALL_TARGET is its gRPC port, with the demo model as default. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import {
  Cancelled,
  CheckLevel,
  Client,
  DeadlineExceeded,
  Flag,
  flagName,
  InvalidArgument,
  MapKind,
  NotFound,
  primaryOf,
  QuerySelection,
  type Progress,
  shownOf,
  Unavailable,
  wordsOf,
} from "../src/index.js";

const TEXT = "A wonderful, moving film with a great cast.";
const { ROLLCALL_TARGET } = process.env;
let client: Client;

before(() => {
  assert.ok(ROLLCALL_TARGET, "ROLLCALL_TARGET must name a server");
  client = new Client(ROLLCALL_TARGET, { timeoutMs: 60_000 });
});
after(() => client.close());

test("an explanation has a flag for each map, and the words add up", async () => {
  const explanation = await client.explain(TEXT, { requestId: "node-1" });
  assert.equal(explanation.requestId, "node-1");
  assert.deepEqual(
    explanation.attributions.map(({ map }) => map),
    [MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT, MapKind.NORM_ROLLOUT, MapKind.GRADIENT_ROLLOUT],
  );
  for (const attribution of explanation.attributions) {
    assert.match(flagName(attribution.verdict?.flag ?? Flag.UNSPECIFIED), /^(FAITHFUL|UNFAITHFUL|INCONCLUSIVE)$/);
    const words = wordsOf(explanation, attribution);
    assert.ok(words.every(({ effect }) => effect !== undefined));
    const sum = words.reduce((total, { score }) => total + score, 0);
    assert.ok(Math.abs(sum - 1) < 1e-6, `scores sum to ${sum}`);
    assert.ok(TEXT.startsWith(words[0]?.unit.text ?? "nothing"));
  }
  assert.equal(primaryOf(explanation).verdict?.flag, explanation.verdict?.flag);
  assert.equal(shownOf(explanation).verdict?.flag, Flag.FAITHFUL);
});

test("a prediction is the explanation's", async () => {
  const [predicted, explained] = await Promise.all([client.predict(TEXT), client.explain(TEXT)]);
  assert.equal(predicted.prediction?.predicted, "positive");
  assert.equal(predicted.prediction.predicted, explained.prediction?.predicted);
  assert.equal(predicted.model?.digest, explained.model?.digest);
});

test("a word arrives, and a model of whole texts refuses it by name", async () => {
  const asked = [
    { text: TEXT, word: { index: 0 } },
    { text: TEXT, word: { character: 3 } },
  ] as const;
  for (const input of asked) {
    await assert.rejects(client.explain(input), (error: unknown) => {
      assert.ok(error instanceof InvalidArgument);
      assert.deepEqual(error.violations.map(({ field }) => field), ["text.word"]);
      return true;
    });
  }
  await assert.rejects(client.predict({ tokens: [0, 11, 2], word: { index: -1 } }), InvalidArgument);
});

test("options arrive: maps, target, seed, attention", async () => {
  const explanation = await client.explain(TEXT, {
    maps: [MapKind.DECOMPOSITION],
    primaryMap: MapKind.DECOMPOSITION,
    target: "negative",
    seed: 7n,
    maxRows: 128,
    attention: { layers: [0] },
  });
  assert.equal(explanation.primaryMap, MapKind.DECOMPOSITION);
  assert.equal(explanation.prediction?.target, "negative");
  assert.equal(explanation.seed, 7n);
  assert.deepEqual(explanation.attention?.layers, [0]);
});

test("without checks the flag says so", async () => {
  const explanation = await client.explain(TEXT, { checkLevel: CheckLevel.NONE });
  assert.equal(explanation.verdict?.flag, Flag.NOT_CHECKED);
});

test("models are listed and described", async () => {
  const models = await client.models();
  const named = await client.model(models[0]?.ref?.name);
  assert.deepEqual(named.labels, ["negative", "positive"]);
  assert.equal((await client.model()).ref?.name, named.ref?.name);
});

test("a stream tells how far it is, and then the explanation, last", async () => {
  const progress: Progress[] = [];
  let flag: Flag | undefined;
  for await (const step of client.explainStream(TEXT, { checkLevel: CheckLevel.THOROUGH, maxRows: 400 })) {
    assert.equal(flag, undefined);
    if ("progress" in step) progress.push(step.progress);
    else flag = step.explanation.verdict?.flag;
  }
  assert.ok(progress.length > 0);
  assert.ok(progress.every(({ rows, plannedRows }) => rows <= plannedRows + 400));
  assert.notEqual(flag, undefined);
});

test("attention that comes in chunks is the attention of a plain answer", async () => {
  const options = { checkLevel: CheckLevel.NONE, attention: { queries: QuerySelection.ALL } };
  const plain = await client.explain(TEXT, options);
  const steps = [];
  for await (const step of client.explainStream(TEXT, options)) steps.push(step);
  const last = steps.at(-1);
  assert.ok(last && "explanation" in last);
  assert.deepEqual(last.explanation.attention?.tensor, plain.attention?.tensor);
  assert.ok((plain.attention?.tensor?.data.length ?? 0) > 1_000);
});

test("who leaves a stream is not waited for, and the next caller is served", async () => {
  for await (const step of client.explainStream(TEXT, { checkLevel: CheckLevel.THOROUGH })) {
    assert.ok("progress" in step);
    break;
  }
  assert.equal((await client.predict(TEXT)).prediction?.predicted, "positive");
});

test("a field that is wrong is named", async () => {
  await assert.rejects(client.explain(""), (error: unknown) => {
    assert.ok(error instanceof InvalidArgument);
    assert.equal(error.code, "INVALID_ARGUMENT");
    assert.match(error.violations[0]?.field ?? "", /text/);
    return true;
  });
});

test("a model that is not there is named", async () => {
  await assert.rejects(client.predict(TEXT, { model: "nobody", requestId: "node-2" }), (error: unknown) => {
    assert.ok(error instanceof NotFound);
    assert.deepEqual([error.resource, error.requestId], ["nobody", "node-2"]);
    return true;
  });
});

test("a deadline ends a call and a stream", async () => {
  const options = { checkLevel: CheckLevel.THOROUGH, timeoutMs: 1 };
  await assert.rejects(client.explain(TEXT, options), DeadlineExceeded);
  await assert.rejects(client.explainStream(TEXT, options).next(), DeadlineExceeded);
});

test("a signal cancels, also one that was given before", async () => {
  const options = { checkLevel: CheckLevel.THOROUGH, timeoutMs: 60_000 };
  const later = client.explain(TEXT, { ...options, signal: AbortSignal.timeout(100) });
  await assert.rejects(later, Cancelled);
  await assert.rejects(client.explain(TEXT, { ...options, signal: AbortSignal.abort() }), Cancelled);
  await assert.rejects(client.explainStream(TEXT, { ...options, signal: AbortSignal.abort() }).next(), Cancelled);
});

test("nobody there is Unavailable", async () => {
  const lonely = new Client("127.0.0.1:1", { retries: 1, timeoutMs: 5_000 });
  await assert.rejects(lonely.models(), Unavailable);
  lonely.close();
});
