/** A stream's attention is put together as it was sent, or not at all. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { crc32c } from "../src/crc32c.js";
import { DataType } from "../src/gen/rollcall/v1/common_pb.js";
import { ExplainStreamResponseSchema } from "../src/gen/rollcall/v1/explanation_service_pb.js";
import { InvalidAnswer } from "../src/index.js";
import { Streamed } from "../src/streamed.js";

type Content = MessageInitShape<typeof ExplainStreamResponseSchema>["content"];

const BYTES = Uint8Array.from([1, 2, 3, 4, 5, 6]);
const HEADER: Content = { case: "header", value: { requestId: "r" } };
const ATTENTION: Content = { case: "attention", value: { tensor: { dataType: DataType.UINT8, shape: [2n, 3n] } } };

function chunk(from: number, to: number, change: { data?: Uint8Array; offset?: number } = {}): Content {
  const data = BYTES.slice(from, to);
  return {
    case: "chunk",
    value: { offset: BigInt(change.offset ?? from), data: change.data ?? data, crc32c: crc32c(data) },
  };
}

function read(...contents: Content[]) {
  const streamed = new Streamed("r");
  for (const content of contents) streamed.take(create(ExplainStreamResponseSchema, { content: content! }));
  return streamed.explanation();
}

test("the checksum is the one of RFC 3720 and of the usual check value", () => {
  assert.equal(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(255)), 0x62a8ab43);
});

test("chunks in order make the tensor", () => {
  assert.deepEqual(read(HEADER, ATTENTION, chunk(0, 4), chunk(4, 6)).attention?.tensor?.data, BYTES);
  assert.equal(read(HEADER).attention, undefined);
});

for (const [what, contents] of Object.entries<Content[]>({
  "no explanation": [],
  "a chunk that was changed": [HEADER, ATTENTION, chunk(0, 6, { data: Uint8Array.from([1, 2, 3, 4, 5, 7]) })],
  "a gap": [HEADER, ATTENTION, chunk(0, 2), chunk(3, 6)],
  "a chunk twice": [HEADER, ATTENTION, chunk(0, 2), chunk(0, 2)],
  "an end too early": [HEADER, ATTENTION, chunk(0, 4)],
  "more than was announced": [HEADER, ATTENTION, chunk(0, 6), chunk(0, 2, { offset: 6 })],
  "a chunk before its description": [HEADER, chunk(0, 6)],
  "a type of a newer service": [HEADER, { case: "attention", value: { tensor: { dataType: 99 as never, shape: [6n] } } }],
})) {
  test(`${what} is an invalid answer`, () => {
    assert.throws(() => read(...contents), InvalidAnswer);
  });
}
