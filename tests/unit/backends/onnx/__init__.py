"""Tests of the ONNX backend, on exports that know nothing of it."""
