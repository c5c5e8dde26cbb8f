// dwt2 and idwt2: one kernel each, every sample and coefficient crosses global memory once.
//
// Memory. Haar and other two-tap banks on rows of whole 16-byte words: 16-byte accesses of the
// map, 8-byte accesses of the bands (the copy-like case that most networks have). Up to 6 taps, or
// two on other widths: strips in registers, samples shared by neighbouring threads through the L1
// cache. Longer filters, up to 40 taps: tiles in at most 47 KiB of shared memory. The filters are
// arguments of the kernels, so they sit in constant memory.
#include "differseg_kernels.h"
#include "dwt_kernels.cuh"
#include "idwt_kernels.cuh"

#include <type_traits>

namespace differseg {
namespace {

constexpr int kThreads = 256;

static_assert(decompositionBytes(kMostTaps) <= kSharedBytes, "the longest filters fit");
static_assert(reconstructionBytes(kMostTaps) <= kSharedBytes, "the longest filters fit");

// Cut `planes` times (down, across) into items; false where they cannot be counted.
template <class Task>
bool divide(int planes, int64_t down, int64_t across, Task& task) {
    task.byDown = Divider(static_cast<uint32_t>(down));
    task.byAcross = Divider(static_cast<uint32_t>(across));
    // The last thread of the last block is counted as well, and both in 31 bits.
    const int64_t most = kMostBlocks - kThreads;
    if (down > most || across > most || down * across > most / planes) {
        return false;
    }
    task.items = static_cast<unsigned int>(planes * down * across);
    return true;
}

// A map whose rows are whole words of 16 bytes, and bands whose rows are halves of them.
template <typename T>
bool isOfWords(const T* map, int width, const T* bands, int bandWidth) {
    return width % (16 / sizeof(T)) == 0 && width == 2 * bandWidth && isAligned(map, 16)
           && isAligned(bands, 8);
}

template <typename T>
int decompose(const T* x, T* bands, int planes, Decomposition task, const float* lowpass,
              const float* highpass, int taps, void* stream) {
    if (taps == 2 && isOfWords(x, task.width, bands, task.bandWidth)) {
        if (!divide(planes, task.bandHeight, 2 * sizeof(T) * task.bandWidth / 16, task)) {
            return cudaErrorInvalidConfiguration;
        }
        return launch(decomposeWords<T>, ceilDivide(task.items, kThreads), kThreads, 0, stream, x,
                      bands, Bank<2>(lowpass, highpass), task);
    }
    if (taps > kMostUnrolledTaps) {
        if (!divide(planes, ceilDivide(task.bandHeight, kTileDown),
                    ceilDivide(task.bandWidth, kTileAcross), task)) {
            return cudaErrorInvalidConfiguration;
        }
        return launch(decomposeTiles<T>, task.items, kTileThreads, decompositionBytes(taps),
                      stream, x, bands, PairedBank(lowpass, highpass, taps), taps, task);
    }
    if (!divide(planes, ceilDivide(task.bandHeight, kStripRows), task.bandWidth, task)) {
        return cudaErrorInvalidConfiguration;
    }
    const bool hasPairs = task.width % 2 == 0 && isAligned(x, 2 * sizeof(T));
    const Reads reads = !hasPairs              ? Reads::kSingle
                        : task.offset % 2 == 0 ? Reads::kPairs
                                               : Reads::kPairsFromBefore;
    return withTaps(taps, [&](auto* shape) {
        constexpr int kTaps = sizeof *shape;
        return launch(decomposeStrips<T, kTaps>, ceilDivide(task.items, kThreads), kThreads, 0,
                      stream, x, bands, Bank<kTaps>(lowpass, highpass), task, reads);
    });
}

template <typename T>
int reconstruct(const T* bands, T* x, int planes, Reconstruction task, const float* lowpass,
                const float* highpass, int taps, void* stream) {
    if (taps == 2 && isOfWords(x, task.width, bands, task.bandWidth)) {
        if (!divide(planes, ceilDivide(task.height, 2), 2 * sizeof(T) * task.bandWidth / 16,
                    task)) {
            return cudaErrorInvalidConfiguration;
        }
        return launch(reconstructWords<T>, ceilDivide(task.items, kThreads), kThreads, 0, stream,
                      bands, x, Bank<2>(lowpass, highpass), task);
    }
    const int64_t down = (task.height - 1 + task.shift) / 2 - task.firstPair + 1;
    const int64_t across = ceilDivide(task.width, 2);
    const bool hasPairs = task.width % 2 == 0 && isAligned(x, 2 * sizeof(T));
    if (taps > kMostUnrolledTaps) {
        if (!divide(planes, ceilDivide(down, kTileDown), ceilDivide(across, kTileAcross), task)) {
            return cudaErrorInvalidConfiguration;
        }
        return launch(reconstructTiles<T>, task.items, kTileThreads, reconstructionBytes(taps),
                      stream, bands, x, PairedBank(lowpass, highpass, taps), taps, task,
                      hasPairs);
    }
    if (!divide(planes, ceilDivide(down, kStripRows), across, task)) {
        return cudaErrorInvalidConfiguration;
    }
    return withTaps(taps, [&](auto* shape) {
        constexpr int kTaps = sizeof *shape;
        // taps / 2 - 1, the shift of periodization, is odd for these; taps - 2 never is.
        constexpr bool kMayBeOdd = kTaps % 4 == 0;
        const auto kernel = task.shift % 2 == 1 ? reconstructStrips<T, kTaps, kMayBeOdd>
                                                : reconstructStrips<T, kTaps, false>;
        return launch(kernel, ceilDivide(task.items, kThreads), kThreads, 0, stream, bands, x,
                      Bank<kTaps>(lowpass, highpass), task, hasPairs);
    });
}

int bandExtent(int extent, int taps, int mode) {
    const int64_t numerator = int64_t{extent} + (mode == DIFFERSEG_PERIODIZATION ? 1 : taps - 1);
    return static_cast<int>(numerator / 2);
}

// The longest axis: positions along it, filters included, and its period when it is mirrored, which
// is twice as long, stay within an int.
constexpr int kLongestAxis = (1 << 30) - 1;

bool isAxis(int extent) { return extent >= 1 && extent <= kLongestAxis; }

bool isReconstructed(int extent, int count, int taps, int mode) {
    const int64_t whole = 2 * int64_t{count} - (mode == DIFFERSEG_PERIODIZATION ? 0 : taps - 2);
    return isAxis(extent) && isAxis(count) && extent <= whole;
}

}  // namespace
}  // namespace differseg

int differseg_dwt2(int dtype, const void* x, void* bands, int planes, int height, int width,
                   const float* lowpass, int low_taps, const float* highpass, int high_taps,
                   int mode, void* stream) {
    using namespace differseg;
    const int least = mode == DIFFERSEG_REFLECT ? 2 : 1;
    if (!isBank(lowpass, low_taps, highpass, high_taps) || !isMode(mode) || planes < 0
        || !isAxis(height) || !isAxis(width) || height < least || width < least) {
        return cudaErrorInvalidValue;
    }
    Decomposition task{};
    task.height = height;
    task.width = width;
    task.bandHeight = bandExtent(height, low_taps, mode);
    task.bandWidth = bandExtent(width, low_taps, mode);
    task.mode = mode;
    task.offset = (mode == DIFFERSEG_PERIODIZATION ? low_taps / 2 : 1) - (low_taps - 1);
    return withElement(dtype, [&](auto* element) -> int {
        using T = std::remove_pointer_t<decltype(element)>;
        if (planes == 0) {
            return cudaSuccess;
        }
        if (x == nullptr || bands == nullptr) {
            return cudaErrorInvalidValue;
        }
        return decompose(static_cast<const T*>(x), static_cast<T*>(bands), planes, task, lowpass,
                         highpass, low_taps, stream);
    });
}

int differseg_idwt2(int dtype, const void* bands, void* x, int planes, int band_height,
                    int band_width, int height, int width, const float* lowpass, int low_taps,
                    const float* highpass, int high_taps, int mode, void* stream) {
    using namespace differseg;
    if (!isBank(lowpass, low_taps, highpass, high_taps) || !isMode(mode) || planes < 0
        || !isReconstructed(height, band_height, low_taps, mode)
        || !isReconstructed(width, band_width, low_taps, mode)) {
        return cudaErrorInvalidValue;
    }
    Reconstruction task{};
    task.height = height;
    task.width = width;
    task.bandHeight = band_height;
    task.bandWidth = band_width;
    task.mode = mode;
    task.shift = mode == DIFFERSEG_PERIODIZATION ? low_taps / 2 - 1 : low_taps - 2;
    task.firstPair = task.shift / 2;
    return withElement(dtype, [&](auto* element) -> int {
        using T = std::remove_pointer_t<decltype(element)>;
        if (planes == 0) {
            return cudaSuccess;
        }
        if (x == nullptr || bands == nullptr) {
            return cudaErrorInvalidValue;
        }
        return reconstruct(static_cast<const T*>(bands), static_cast<T*>(x), planes, task, lowpass,
                           highpass, low_taps, stream);
    });
}
