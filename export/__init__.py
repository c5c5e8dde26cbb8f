"""PyTorch to ONNX and the proof: export, checks against each target, parity and its report."""
