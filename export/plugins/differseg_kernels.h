/* Plain C entry points of differseg's CUDA kernels: compiled by nvcc alone, without TensorRT.
 *
 * Rules that hold for every entry point:
 *  - All tensors are contiguous device memory aligned to their element; `dtype` (DiffersegDtype)
 *    is that of every tensor of the call. Sums are taken in fp32 and rounded once, on storing.
 *  - `stream` is a cudaStream_t. Nothing is allocated, synchronised or copied from the host, so
 *    every call may be captured into a CUDA graph; coefficients travel as kernel arguments.
 *  - `planes` is N * C. A call with no planes (or an empty batch) does nothing and succeeds.
 *  - The result is 0 or a cudaError_t: cudaErrorInvalidValue for arguments that this page rules
 *    out (nothing is launched then), else what the launch answered. Errors of the running kernel
 *    show, as always in CUDA, at a later synchronisation.
 *  - Input and output must not overlap.
 *
 * Sizes are 1 or more in each direction, odd and prime ones included, as far as the launch grid
 * and the device's memory reach.
 */
#ifndef DIFFERSEG_KERNELS_H_
#define DIFFERSEG_KERNELS_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum DiffersegDtype { DIFFERSEG_FP32 = 0, DIFFERSEG_FP16 = 1 };

/* As torch.fft: backward divides the inverse by H * W, ortho both directions by sqrt(H * W),
 * forward the forward transform by H * W. */
enum DiffersegNorm { DIFFERSEG_BACKWARD = 0, DIFFERSEG_ORTHO = 1, DIFFERSEG_FORWARD = 2 };

/* Signal extension, by PyWavelets' names and with its results. */
enum DiffersegMode {
    DIFFERSEG_ZERO = 0,
    DIFFERSEG_SYMMETRIC = 1,
    DIFFERSEG_REFLECT = 2,
    DIFFERSEG_PERIODIC = 3,
    DIFFERSEG_PERIODIZATION = 4
};

/* What a tap outside x reads: nothing, or the nearest pixel of the edge. */
enum DiffersegBorder { DIFFERSEG_ZEROS = 0, DIFFERSEG_EDGE = 1 };

/* What is done to the k * k taps of one output pixel first: nothing, softmax, or softmax times the
 * Hamming window, renormalised. */
enum DiffersegNormalize {
    DIFFERSEG_NONE = 0,
    DIFFERSEG_SOFTMAX = 1,
    DIFFERSEG_HAMMING = 2
};

/* The longest wavelet filter. */
#define DIFFERSEG_MAX_TAPS 40

/* Real 2-D FFT, x (planes, H, W) -> spectrum (planes, 2, H, W/2+1), the second axis being
 * (real, imaginary); full along H, one-sided along W. `workspace` is device memory of the given
 * size, aligned to 16 bytes; its size is 0 for arguments that the transform refuses or that leave
 * it nothing to do, and grows with planes, height and width: a workspace for the largest of each
 * does for all. Lengths with prime factors above 7 are transformed by direct sums over those
 * factors, a prime length N by N * N multiplications: right at any size, fast at others. */
size_t differseg_rfft2_workspace(int dtype, int planes, int height, int width);
int differseg_rfft2(int dtype, const void* x, void* spectrum, void* workspace, int planes,
                    int height, int width, int norm, void* stream);

/* Inverse of the above, spectrum (planes, 2, H, W/2+1) -> x (planes, H, W), `width` being W.
 * Spectra that are no transform of a real map are read as torch.fft.irfft2 reads them: complex
 * inverse along H first, then along W without the imaginary part of the DC bin and, for even W,
 * of the Nyquist bin. */
size_t differseg_irfft2_workspace(int dtype, int planes, int height, int width);
int differseg_irfft2(int dtype, const void* spectrum, void* x, void* workspace, int planes,
                     int height, int width, int norm, void* stream);

/* One wavelet level, x (planes, H, W) -> bands (planes, 4, h, w), the second axis being
 * (LL, LH, HL, HH) = PyWavelets' (cA, cH, cV, cD). h = (H + taps - 1) / 2 rounded down, or
 * (H + 1) / 2 rounded down for periodization; w likewise. `lowpass` and `highpass` are host
 * memory, the decomposition filters in PyWavelets' order: of one length, even, 2 to 40. */
int differseg_dwt2(int dtype, const void* x, void* bands, int planes, int height, int width,
                   const float* lowpass, int low_taps, const float* highpass, int high_taps,
                   int mode, void* stream);

/* Inverse of the above, bands (planes, 4, band_height, band_width) -> x (planes, H, W), with the
 * reconstruction filters. The reconstruction has 2 * band_height - taps + 2 rows, or
 * 2 * band_height for periodization; it is cropped to `height`, which may not exceed it, from the
 * top; columns likewise, from the left. */
int differseg_idwt2(int dtype, const void* bands, void* x, int planes, int band_height,
                    int band_width, int height, int width, const float* lowpass, int low_taps,
                    const float* highpass, int high_taps, int mode, void* stream);

/* Content-aware reassembly, x (batch, C, H, W) and kernels (batch, groups * k * k, s * H, s * W)
 * -> y (batch, C, s * H, s * W):
 *   y[n, c, Y, X] = sum over taps (i, j) of kernels[n, g * k * k + i * k + j, Y, X]
 *                   * x[n, c, Y / s + (i - k / 2) * d, X / s + (j - k / 2) * d],
 * divisions rounded down, g = c / (C / groups). k is 1, 3, 5, 7 or 9; s 1 to 4; d 1 to 64;
 * `groups` divides C. A tap outside x counts in the normalisation also where it reads nothing. */
int differseg_reassemble(int dtype, const void* x, const void* kernels, void* y, int batch,
                         int channels, int height, int width, int kernel_size, int scale,
                         int dilation, int groups, int border, int normalize, void* stream);

/* Cosine of each pixel's channel vector with those of its k * k - 1 neighbours at distance d, in
 * row-major order without the centre: x (batch, C, H, W) -> y (batch, k * k - 1, H, W). A vector's
 * norm counts as 1e-8 at least and its square must be within fp32's range; a neighbour outside x
 * gives 0. k is 3, 5, 7 or 9; d 1 to 64. */
int differseg_local_similarity(int dtype, const void* x, void* y, int batch, int channels,
                               int height, int width, int kernel_size, int dilation,
                               void* stream);

#ifdef __cplusplus
}
#endif

#endif /* DIFFERSEG_KERNELS_H_ */
