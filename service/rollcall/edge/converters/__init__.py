"""The only border between protobuf messages and the values of `rollcall.domain`: requests in, replies out."""
