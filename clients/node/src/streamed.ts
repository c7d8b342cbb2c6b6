/** One answer out of the messages of a stream: the explanation, and attention that came in chunks put together. */

import { crc32c } from "./crc32c.js";
import { InvalidAnswer } from "./errors.js";
import { DataType } from "./gen/rollcall/v1/common_pb.js";
import type { AttentionTensor, ExplainResponse } from "./gen/rollcall/v1/explanation_pb.js";
import type { ExplainStreamResponse, TensorChunk } from "./gen/rollcall/v1/explanation_service_pb.js";

const VALUE_BYTES: ReadonlyMap<DataType, number> = new Map([
  [DataType.FLOAT32, 4],
  [DataType.FLOAT16, 2],
  [DataType.UINT8, 1],
]);

/** What has come so far. Every chunk is checked: its place, its length, its checksum. */
export class Streamed {
  readonly #requestId: string;
  #header: ExplainResponse | undefined;
  #attention: AttentionTensor | undefined;
  #data = new Uint8Array();
  #received = 0;

  constructor(requestId: string) {
    this.#requestId = requestId;
  }

  /** Take the next message; what this client does not know is passed over. Throws InvalidAnswer. */
  take({ content }: ExplainStreamResponse): void {
    if (content.case === "header") this.#header = content.value;
    if (content.case === "attention") this.#announce(content.value);
    if (content.case === "chunk") this.#append(content.value);
  }

  /** The whole answer, when the stream has ended. Throws InvalidAnswer where something is missing. */
  explanation(): ExplainResponse {
    if (!this.#header) throw this.#wrong("the stream ended without an explanation");
    if (!this.#attention?.tensor) return this.#header;
    if (this.#received !== this.#data.length) throw this.#wrong("the stream ended before its attention did");
    this.#attention.tensor.data = this.#data;
    this.#header.attention = this.#attention;
    return this.#header;
  }

  #announce(attention: AttentionTensor): void {
    const { tensor } = attention;
    const bytes = tensor && VALUE_BYTES.get(tensor.dataType);
    if (!tensor || bytes === undefined) throw this.#wrong("the attention is of a type that this client does not know");
    this.#attention = attention;
    this.#data = new Uint8Array(tensor.shape.reduce((product, length) => product * Number(length), bytes));
  }

  #append({ offset, data, crc32c: checksum }: TensorChunk): void {
    if (!this.#attention || Number(offset) !== this.#received) {
      throw this.#wrong(`a chunk is for byte ${offset}, not for byte ${this.#received}`);
    }
    if (crc32c(data) !== checksum) throw this.#wrong(`a chunk was damaged on the way, at byte ${offset}`);
    if (this.#received + data.length > this.#data.length) throw this.#wrong("there is more attention than was announced");
    this.#data.set(data, this.#received);
    this.#received += data.length;
  }

  #wrong(message: string): InvalidAnswer {
    return new InvalidAnswer(message, { code: "OK", requestId: this.#requestId });
  }
}
