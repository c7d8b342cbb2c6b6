"""Calls of tritonclient, unmodified, as its documentation has them; prints what came back as JSON."""

import json
import sys

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

client = grpcclient.InferenceServerClient(sys.argv[1])
texts = [text.encode() for text in sys.argv[2:]]
text = grpcclient.InferInput("text", [len(texts), 1], "BYTES")
text.set_data_from_numpy(np.array(texts, dtype=object).reshape(-1, 1))
wanted = [
    grpcclient.InferRequestedOutput(name) for name in ("logits", "rollcall.scores", "rollcall.units", "rollcall.report")
]
options = {"rollcall_seed": 7, "rollcall_check_level": "standard"}
plain = client.infer("demo", [text], request_id="plain")
explained = client.infer("demo", [text], outputs=wanted, parameters=options, request_id="explained", client_timeout=60)

ids = json.loads(explained.as_numpy("rollcall.report")[0])["model"]
rows = np.array([[101, 1, 1, 102]], dtype=np.int64)
refusals = {}
for name, shape in (("input_ids", [1, 4]), ("pixels", [1, 4])):
    tensor = grpcclient.InferInput(name, shape, "INT64")
    tensor.set_data_from_numpy(rows - 200)
    try:
        client.infer("demo", [tensor])
    except InferenceServerException as error:
        refusals[name] = {"status": error.status(), "message": error.message()}
try:
    client.load_model("demo")
except InferenceServerException as error:
    refusals["load"] = {"status": error.status(), "message": error.message()}

metadata = client.get_model_metadata("demo", as_json=True)
config = client.get_model_config("demo", as_json=True)
statistics = client.get_inference_statistics("demo", as_json=True)
index = client.get_model_repository_index(as_json=True)
print(
    json.dumps(
        {
            "ready": [client.is_server_live(), client.is_server_ready(), client.is_model_ready("demo")],
            "absent": client.is_model_ready("nobody"),
            "server": client.get_server_metadata(as_json=True)["name"],
            "ids": [plain.get_response().id, explained.get_response().id],
            "model": ids["name"],
            "labels": [label.decode() for label in plain.as_numpy("label")],
            "logits": explained.as_numpy("logits").tolist(),
            "scores": explained.as_numpy("rollcall.scores").tolist(),
            "units": [[unit.decode() for unit in row] for row in explained.as_numpy("rollcall.units")],
            "flags": [flag.decode() for flag in explained.as_numpy("rollcall.flag")],
            "reports": [json.loads(report) for report in explained.as_numpy("rollcall.report")],
            "listed": [output["name"] for output in metadata["outputs"]],
            "configured": [output["name"] for output in config["config"]["output"]],
            "inferences": int(statistics["model_stats"][0]["inference_count"]),
            "index": index["models"],
            "refusals": refusals,
        }
    )
)
