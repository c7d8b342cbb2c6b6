#!/bin/sh
# Generate the stubs and build the example into a directory, with Debian's packages and no downloads:
#   apt-get install golang-go golang-google-grpc-dev golang-google-genproto-dev protobuf-compiler protoc-gen-go protoc-gen-go-grpc
#   sh build.sh out/go && out/go/explain 127.0.0.1:8001 "A wonderful, moving film."
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/src"
out=$(cd "$1" && pwd)
protoc -I "$here/../../protos" --go_out="$out/src" --go-grpc_out="$out/src" "$here"/../../protos/rollcall/v1/*.proto
GO111MODULE=off GOPATH="$out:/usr/share/gocode" GOFLAGS= go build -o "$out/explain" "$here/explain.go" "$here/debian.go"
