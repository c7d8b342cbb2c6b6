// Calls of @grpc/grpc-js that reads our proto files; prints what came back as JSON.
import { createRequire } from "node:module";

const [, , modules, protos, target, ...texts] = process.argv;
const require = createRequire(`${modules}/`);
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const load = (file) =>
  grpc.loadPackageDefinition(loader.loadSync(file, { includeDirs: [protos], keepCase: true, longs: Number, enums: String }));
const call = (client, method, request) =>
  new Promise((resolve, reject) => client[method](request, (error, reply) => (error ? reject(error) : resolve(reply))));
const read = (stream) =>
  new Promise((resolve, reject) => {
    const messages = [];
    stream.on("data", (message) => messages.push(message));
    stream.on("error", reject);
    stream.on("end", () => resolve(messages));
  });

const inference = new (load("inference/open_inference.proto").inference.GRPCInferenceService)(
  target,
  grpc.credentials.createInsecure(),
);
const native = new (load("rollcall/v1/explanation_service.proto").rollcall.v1.ExplanationService)(
  target,
  grpc.credentials.createInsecure(),
);
const reply = await call(inference, "ModelInfer", {
  model_name: "demo",
  parameters: { rollcall_seed: { int64_param: 7 } },
  inputs: [{ name: "text", datatype: "BYTES", shape: [texts.length], contents: { bytes_contents: texts.map((text) => Buffer.from(text)) } }],
  outputs: [{ name: "logits" }, { name: "rollcall.flag" }],
});
const refusal = await call(inference, "ModelInfer", { model_name: "nobody" }).catch((error) => error.code);
const stream = await read(native.ExplainStream({ text: { text: texts[0] }, seed: 7 }));
console.log(
  JSON.stringify({
    names: reply.outputs.map((output) => output.name),
    logits: reply.outputs[0].contents.fp32_contents,
    flags: reply.outputs[1].contents.bytes_contents.map((flag) => flag.toString()),
    refusal,
    streamed: stream.filter((message) => message.header).map((message) => message.header.verdict.flag),
  }),
);
