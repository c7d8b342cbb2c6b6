#!/bin/sh
# Writes the message types from protos/ into a directory: `sh generate.sh src/gen`. PYTHON has grpcio-tools.
set -eu
cd "$(dirname "$0")"
out=${1:-src/gen}
python=${PYTHON:-../../.venv/bin/python}
packages=$("$python" -c 'import google.rpc, pathlib; print(pathlib.Path(list(google.rpc.__path__)[0]).parents[1])')
mkdir -p "$out"
"$python" -m grpc_tools.protoc --proto_path=../../protos --proto_path="$packages" \
  --plugin=protoc-gen-es=node_modules/.bin/protoc-gen-es \
  --es_out="$out" --es_opt=target=ts,import_extension=js \
  $(cd ../../protos && ls rollcall/v1/*.proto) google/rpc/status.proto google/rpc/error_details.proto
