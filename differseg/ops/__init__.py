"""Frequency operators in PyTorch: Fourier, wavelet, Gaussian, reassembly, similarity, sampling.

Each is a registered ``torch.library`` operator of the namespace ``differseg`` with a checked,
documented function around it; the same stem names its ONNX form in ``differseg.export.lowering``
and its CUDA form in ``export/plugins``.
"""

from differseg.extras import naming_the_extra

with naming_the_extra("differseg.ops"):
    from differseg.ops.filter_banks import HAAR, FilterBank, filter_bank
    from differseg.ops.fourier import (
        fft,
        fft2,
        full_spectrum,
        ifft2,
        irfft,
        irfft2,
        rfft,
        rfft2,
    )
    from differseg.ops.gaussian import gaussian_highpass, gaussian_lowpass
    from differseg.ops.pyramid import laplacian_pyramid, reconstruct_pyramid
    from differseg.ops.reassembly import hamming_window, normalize_kernels, reassemble
    from differseg.ops.saliency import (
        invert_displacement,
        normalized_saliency,
        saliency_displacement,
    )
    from differseg.ops.sampling import (
        displacement_to_positions,
        grid_to_positions,
        identity_offsets,
        positions_to_grid,
        sample_offsets,
        warp,
    )
    from differseg.ops.similarity import local_similarity
    from differseg.ops.spectrum import (
        amplitude,
        complex_multiply,
        from_amplitude_phase,
        phase,
        radial_mask,
    )
    from differseg.ops.wavelet import dwt2, idwt2, wavedec2, waverec2

__all__ = [
    "HAAR",
    "FilterBank",
    "amplitude",
    "complex_multiply",
    "displacement_to_positions",
    "dwt2",
    "fft",
    "fft2",
    "filter_bank",
    "from_amplitude_phase",
    "full_spectrum",
    "gaussian_highpass",
    "gaussian_lowpass",
    "grid_to_positions",
    "hamming_window",
    "identity_offsets",
    "idwt2",
    "ifft2",
    "invert_displacement",
    "irfft",
    "irfft2",
    "laplacian_pyramid",
    "local_similarity",
    "normalize_kernels",
    "normalized_saliency",
    "phase",
    "positions_to_grid",
    "radial_mask",
    "reassemble",
    "reconstruct_pyramid",
    "rfft",
    "rfft2",
    "saliency_displacement",
    "sample_offsets",
    "warp",
    "wavedec2",
    "waverec2",
]
