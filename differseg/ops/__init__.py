"""Frequency operators in PyTorch: Fourier, wavelet, Gaussian, reassembly, similarity, sampling.

Each is a registered ``torch.library`` operator of the namespace ``differseg`` with a checked,
documented function around it; the same stem names its ONNX form in ``differseg.export.lowering``
and its CUDA form in ``export/plugins``.
"""
