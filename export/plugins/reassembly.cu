// Content-aware reassembly in one kernel: no unfolded or upsampled copy of x.
//
// Memory. A thread owns a patch of output pixels for a share of a group's channels: it reads their
// kernels once, normalises them and keeps them in registers, then for every channel reads the
// pixels of x under them and writes the sums. Lanes are neighbours along W and the warps of a block
// neighbours along H, so reads and writes are coalesced and taps shared by threads come from the
// L1 cache. Taps shared by the pixels of a patch are read once:
//   even scale         2 x 2 pixels of output that lie in one pixel of x
//   scale 1            rows one dilation apart, so k + 3 rows of x serve four
//   scale 1, no gaps   of these, two columns at a time, read and written in pairs
// Channels are shared among as many threads as keep the device busy; the shares of one patch are
// neighbours in the grid, so that kernels read again come from the L2 cache.
//
// The border is settled in the kernels before the loop over the channels: a tap outside x has
// weight zero and reads a pixel inside that the sum has anyway.
#include "differseg_kernels.h"
#include "reassembly_patch.cuh"

#include <cmath>
#include <type_traits>

namespace differseg {
namespace {

constexpr int kThreads = 128;
constexpr int kMostScale = 4;
constexpr int kMostDilation = 64;
constexpr int kBlocksOfProcessor = 4;  // that keep a multiprocessor busy

template <class P, typename T>
__global__ void __launch_bounds__(kThreads, P::kBlocks)
    reassemblePatches(const T* x, const T* kernels, T* y, Reassembly task) {
    uint32_t share = blockIdx.x;
    uint32_t across = task.byShares.split(share);
    uint32_t down = task.byAcross.split(across);
    uint32_t group = task.byDown.split(down);
    const size_t image = task.byGroups.split(group);
    across = (across << task.logLanes) + (threadIdx.x & ((1 << task.logLanes) - 1));
    down = down * (kThreads >> task.logLanes) + (threadIdx.x >> task.logLanes);
    const Place place = placeOf<P>(task, across, down);
    if (static_cast<int>(across) >= task.patchesAcross
        || static_cast<int>(down) >= task.patchesDown || place.row >= task.height) {
        return;
    }
    const int outWidth = task.width * task.scale;
    const size_t size = static_cast<size_t>(task.height) * task.width;
    const size_t outSize = size * task.scale * task.scale;
    const int lastRow = min(
        P::kRows - 1, static_cast<int>(task.byDilation.divide(task.height - 1 - place.row)));

    size_t rows[P::kOutRows];  // the patch in a channel of y; beyond the last row that row again
#pragma unroll
    for (int r = 0; r < P::kOutRows; ++r) {
        const int row = place.row + min(r / P::kSubs, lastRow) * task.dilation;
        const int outRow = row * task.scale + place.outRow + r % P::kSubs;
        rows[r] = static_cast<size_t>(outRow) * outWidth + place.outColumn;
    }
    Weights<P> weights;
    weights.read(task, kernels + (image * task.groups + group) * P::kTaps * outSize, outSize,
                 rows);
    int lines[P::kLines];
    int columns[P::kReads];
    settleRows<P>(task, place, lastRow, weights, lines);
    settleColumns<P>(task, place, weights, columns);

    const int ofGroup = task.channels / task.groups;
    const int first = share * task.share;
    const int count = min(task.share, ofGroup - first);
    const size_t plane = image * task.channels + group * ofGroup + first;
    const T* from[P::kLines];
#pragma unroll
    for (int i = 0; i < P::kLines; ++i) {
        from[i] = x + plane * size + lines[i];
    }
    T* to = y + plane * outSize;
    for (int channel = 0; channel < count; ++channel, to += outSize) {
        float sums[P::kOutRows][P::kOutColumns] = {};
        addTaps<P>(from, weights, columns, sums);
#pragma unroll
        for (int i = 0; i < P::kLines; ++i) {
            from[i] += size;
            hideOrigin(from[i]);
        }
#pragma unroll
        for (int r = 0; r < P::kOutRows; ++r) {
            if (r / P::kSubs <= lastRow) {
                if constexpr (P::kOutColumns == 2) {
                    storePair(to + rows[r], make_float2(sums[r][0], sums[r][1]));
                } else {
                    store(to + rows[r], sums[r][0]);
                }
            }
        }
    }
}

// Threads of a block side by side: what leaves the fewest beyond the borders, wide before narrow.
int chooseLanes(int64_t across, int64_t down) {
    int best = 5;
    int64_t least = 0;
    for (int log = 5; log >= 3; --log) {
        const int64_t lanes = 1 << log;
        const int64_t below = kThreads >> log;
        const int64_t threads =
            ceilDivide(across, lanes) * lanes * ceilDivide(down, below) * below;
        if (log == 5 || threads < least) {
            best = log;
            least = threads;
        }
    }
    return best;
}

int multiprocessors() {
    int device = 0;
    int count = 0;
    const bool isKnown = cudaGetDevice(&device) == cudaSuccess
                         && cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device)
                                == cudaSuccess;
    return isKnown && count > 0 ? count : 16;
}

template <class P, typename T>
int launchPatches(const T* x, const T* kernels, T* y, int64_t images, Reassembly task,
                  void* stream) {
    const int64_t bundle = int64_t{P::kRows} * task.dilation;  // rows of x that patches interleave
    const int64_t rows = P::kRows > 1 ? ceilDivide(task.height, bundle) * task.dilation
                                      : int64_t{task.height} * task.scale / P::kSubs;
    const int64_t columns = int64_t{task.width} * task.scale / P::kOutColumns;
    task.patchesAcross = static_cast<int>(columns);
    task.patchesDown = static_cast<int>(rows);
    task.logLanes = chooseLanes(columns, rows);
    const int64_t across = ceilDivide(columns, 1 << task.logLanes);
    const int64_t down = ceilDivide(rows, kThreads >> task.logLanes);
    const int64_t places = images * task.groups * across * down;

    const int64_t ofGroup = task.channels / task.groups;
    const int64_t wanted = ceilDivide(int64_t{kBlocksOfProcessor} * multiprocessors(), places);
    task.share = static_cast<int>(ceilDivide(ofGroup, wanted < ofGroup ? wanted : ofGroup));
    const int64_t shares = ceilDivide(ofGroup, task.share);
    task.byShares = Divider(static_cast<uint32_t>(shares));
    task.byAcross = Divider(static_cast<uint32_t>(across));
    task.byDown = Divider(static_cast<uint32_t>(down));
    task.byGroups = Divider(task.groups);
    task.byScale = Divider(task.scale);
    task.byHalfScale = Divider(task.scale > 1 ? task.scale / 2 : 1);
    task.byDilation = Divider(task.dilation);
    return launch(reassemblePatches<P, T>, places * shares, kThreads, 0, stream, x, kernels, y,
                  task);
}

// The largest patch whose kernels have room in the registers of a thread.
template <int kSize, typename T>
int launchSize(const T* x, const T* kernels, T* y, int batch, const Reassembly& task,
               void* stream) {
    constexpr int kSquare = kSize <= 5 ? 2 : 1;
    constexpr int kRows = kSize <= 5 ? 4 : kSize <= 7 ? 2 : 1;
    const bool hasPairs = task.width * task.scale % 2 == 0 && isAligned(x, 2 * sizeof(T))
                          && isAligned(kernels, 2 * sizeof(T)) && isAligned(y, 2 * sizeof(T));
    if (task.scale % 2 == 0 && hasPairs) {
        return launchPatches<Patch<kSize, 1, 1, kSquare>>(x, kernels, y, batch, task, stream);
    }
    if (task.scale == 1 && task.dilation == 1 && hasPairs) {
        return launchPatches<Patch<kSize, kSize <= 3 ? kRows : kSquare, kSquare, 1>>(
            x, kernels, y, batch, task, stream);
    }
    if (task.scale == 1) {
        return launchPatches<Patch<kSize, kRows, 1, 1>>(x, kernels, y, batch, task, stream);
    }
    return launchPatches<Patch<kSize, 1, 1, 1>>(x, kernels, y, batch, task, stream);
}

template <typename T>
int launchElement(const T* x, const T* kernels, T* y, int batch, int kernelSize,
                  const Reassembly& task, void* stream) {
    switch (kernelSize) {
        case 1: return launchPatches<Patch<1, 1, 1, 1>>(x, kernels, y, batch, task, stream);
        case 3: return launchSize<3>(x, kernels, y, batch, task, stream);
        case 5: return launchSize<5>(x, kernels, y, batch, task, stream);
        case 7: return launchSize<7>(x, kernels, y, batch, task, stream);
        case 9: return launchSize<9>(x, kernels, y, batch, task, stream);
        default: return cudaErrorInvalidValue;
    }
}

// Pixels count in ints: those of a plane of y, and of x with a window around it.
bool isCountable(int height, int width, int scale) {
    constexpr int64_t kMost = 0x3fffffff;
    return int64_t{height} * scale <= kMost && int64_t{width} * scale <= kMost
           && int64_t{height} * width <= kMost;
}

bool isReassembly(int batch, int channels, int height, int width, int scale, int dilation,
                  int groups, int border, int normalize) {
    return batch >= 0 && channels >= 1 && height >= 1 && width >= 1 && scale >= 1
           && scale <= kMostScale && dilation >= 1 && dilation <= kMostDilation && groups >= 1
           && channels % groups == 0 && isCountable(height, width, scale)
           && (border == DIFFERSEG_ZEROS || border == DIFFERSEG_EDGE)
           && normalize >= DIFFERSEG_NONE && normalize <= DIFFERSEG_HAMMING;
}

bool isKernel(int size) { return size >= 1 && size <= kMostKernel && size % 2 == 1; }

void setWindow(int size, Reassembly& task) {
    constexpr double kPi = 3.14159265358979323846;
    for (int i = 0; i < size; ++i) {
        const double angle = size > 1 ? 2.0 * kPi * i / (size - 1) : kPi;
        task.window[i] = static_cast<float>(0.54 - 0.46 * std::cos(angle));
    }
}

}  // namespace
}  // namespace differseg

int differseg_reassemble(int dtype, const void* x, const void* kernels, void* y, int batch,
                         int channels, int height, int width, int kernel_size, int scale,
                         int dilation, int groups, int border, int normalize, void* stream) {
    using namespace differseg;
    if (!isReassembly(batch, channels, height, width, scale, dilation, groups, border, normalize)
        || !isKernel(kernel_size)) {
        return cudaErrorInvalidValue;
    }
    Reassembly task{};
    task.channels = channels;
    task.groups = groups;
    task.height = height;
    task.width = width;
    task.scale = scale;
    task.dilation = dilation;
    task.border = border;
    task.normalize = normalize;
    setWindow(kernel_size, task);
    return withElement(dtype, [&](auto* element) -> int {
        using T = std::remove_pointer_t<decltype(element)>;
        if (batch == 0) {
            return cudaSuccess;
        }
        if (x == nullptr || kernels == nullptr || y == nullptr) {
            return cudaErrorInvalidValue;
        }
        return launchElement(static_cast<const T*>(x), static_cast<const T*>(kernels),
                             static_cast<T*>(y), batch, kernel_size, task, stream);
    });
}
