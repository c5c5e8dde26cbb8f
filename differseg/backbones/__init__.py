"""Image trunks: what turns a picture into features at strides 4, 8, 16 and 32.

A trunk is a module with ``channels: tuple[int, int, int, int]`` and
``forward(x: (N, 3, H, W)) -> list`` of four tensors ``(N, channels[k], H/2**(k+2), W/2**(k+2))``.
A trunk with a stem per modality also has ``forward_streams(streams)``, which takes all
modalities at once and returns their levels stacked along the batch.

What lives here: :mod:`~differseg.backbones.edge` (ours, for edge devices, plain PyTorch) and
:mod:`~differseg.backbones.hiera` (SAM 2's Hiera with adapters, needs timm).
"""
