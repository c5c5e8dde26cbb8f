"""The systems' building blocks, usable in anyone's network: constructor arguments are widths.

What lives here, by what it is for (docs/your-own-network.md has every class with its shapes):

* convolutions, heads and gates: :mod:`~differseg.modules.conv`, :mod:`~differseg.modules.heads`,
  :mod:`~differseg.modules.pooled_gates`, :mod:`~differseg.modules.resizing`,
  :mod:`~differseg.modules.stochastic_depth`;
* context: :mod:`~differseg.modules.rfb`, :mod:`~differseg.modules.strip_context`,
  :mod:`~differseg.modules.hamburger`, :mod:`~differseg.modules.adapters`;
* two modalities or two encoders: :mod:`~differseg.modules.differential_perception`,
  :mod:`~differseg.modules.frequency_fusion`, :mod:`~differseg.modules.semantic_fusion`,
  :mod:`~differseg.modules.encoder_fusion`, :mod:`~differseg.modules.high_pass_image`;
* joining of levels: :mod:`~differseg.modules.freqfusion` with its variants
  :mod:`~differseg.modules.dwt_fusion` and :mod:`~differseg.modules.dsconv_fusion`,
  :mod:`~differseg.modules.frequency_decomposition`,
  :mod:`~differseg.modules.frequency_upsampling`, :mod:`~differseg.modules.scale_fusion`,
  :mod:`~differseg.modules.selective_fusion`;
* whole decoders: :mod:`~differseg.modules.frequency_guided_decoder`,
  :mod:`~differseg.modules.segnext_head`, :mod:`~differseg.modules.panet_decoder`,
  :mod:`~differseg.modules.fpn_decoder`, :mod:`~differseg.modules.unwarping_decoders`;
* adaptive sampling: :mod:`~differseg.modules.adaptive_resampling`,
  :mod:`~differseg.modules.nonuniform_upsampling`, :mod:`~differseg.modules.saliency_attention`,
  :mod:`~differseg.modules.pixel_relation`.
"""
