#!/bin/sh
# Generate the stubs and build the example into a directory, with Debian's packages and no downloads:
#   apt-get install default-jdk-headless libgrpc-java libgoogle-common-protos-java libnetty-java libperfmark-java \
#     libgeronimo-annotation-1.3-spec-java protobuf-compiler protobuf-compiler-grpc-java-plugin
#   sh build.sh out/java && out/java/explain 127.0.0.1:8001 "A wonderful, moving film."
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/src" "$1/classes"
out=$(cd "$1" && pwd)
plugin=$(command -v grpc_java_plugin || command -v protoc-gen-grpc-java)
protoc -I "$here/../../protos" --plugin=protoc-gen-grpc-java="$plugin" --java_out="$out/src" --grpc-java_out="$out/src" \
  "$here"/../../protos/rollcall/v1/*.proto
path=$out/classes
for jar in grpc-api grpc-context grpc-core grpc-netty grpc-protobuf grpc-protobuf-lite grpc-stub protobuf guava failureaccess \
  proto-google-common-protos netty-buffer netty-codec netty-codec-http netty-codec-http2 netty-common netty-handler netty-resolver netty-transport perfmark-api opencensus-api opencensus-contrib-grpc-metrics geronimo-annotation-1.3-spec; do
  path=$path:/usr/share/java/$jar.jar
done
find "$out/src" -name '*.java' > "$out/sources"
javac -nowarn -Xlint:none -cp "$path" -d "$out/classes" @"$out/sources" "$here/Explain.java"
printf '#!/bin/sh\nexec java -cp "%s" Explain "$@"\n' "$path" > "$out/explain"
chmod +x "$out/explain"
