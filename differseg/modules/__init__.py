"""The systems' building blocks, usable in anyone's network: constructor arguments are widths.

What lives here: :mod:`~differseg.modules.conv` (convolution with batch normalisation),
:mod:`~differseg.modules.rfb` (receptive-field blocks),
:mod:`~differseg.modules.differential_perception` (two modalities into one),
:mod:`~differseg.modules.frequency_decomposition`,
:mod:`~differseg.modules.frequency_upsampling` and
:mod:`~differseg.modules.frequency_guided_decoder` (four levels into one map),
:mod:`~differseg.modules.heads` (features into logits) and :mod:`~differseg.modules.adapters`.
"""
