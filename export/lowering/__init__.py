"""The operators of :mod:`differseg.ops` as standard ONNX operators: one class an operator."""
