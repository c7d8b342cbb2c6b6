"""Models exported to ONNX, run by ONNX Runtime: where their attention is, how it is opened, and the backend itself."""
