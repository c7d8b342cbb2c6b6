"""Calls of kserve's gRPC client, unmodified; prints what came back as JSON."""

import asyncio
import json
import sys

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput


async def main() -> None:
    """Predict and explain, raw and typed."""
    client = InferenceGRPCClient(url=sys.argv[1])
    texts = sys.argv[2:]
    raw = InferInput(name="text", shape=[len(texts)], datatype="BYTES")
    raw.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=object))
    typed = InferInput(name="text", shape=[len(texts)], datatype="BYTES", data=[text.encode() for text in texts])
    wanted = [RequestedOutput(name) for name in ("logits", "rollcall.flag")]
    options = {"rollcall_seed": 7, "rollcall_check_level": "standard"}
    answers = [
        await client.infer(
            InferRequest(model_name="demo", infer_inputs=[given], request_outputs=wanted, parameters=options)
        )
        for given in (raw, typed)
    ]
    outputs = [{output.name: output.as_numpy() for output in answer.outputs} for answer in answers]
    try:
        await client.infer(InferRequest(model_name="nobody", infer_inputs=[typed]))
    except grpc.aio.AioRpcError as error:
        refusal = error.code().name
    print(
        json.dumps(
            {
                "ready": [
                    (await client.is_server_live()),
                    (await client.is_server_ready()),
                    (await client.is_model_ready("demo")),
                ],
                "logits": [each["logits"].tolist() for each in outputs],
                "flags": [
                    [flag.decode() if isinstance(flag, bytes) else flag for flag in each["rollcall.flag"]]
                    for each in outputs
                ],
                "refusal": refusal,
            }
        )
    )
    await client.close()


asyncio.run(main())
