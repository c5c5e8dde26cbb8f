// Local cosine similarity in one kernel: dot products and norms in one pass over the channels.
//
// Memory. Lanes are neighbours along W: reads are coalesced, and neighbours that lanes share come
// from the L1 cache. 3 x 3 taps, the case that networks have: a thread owns four pixels, one
// dilation below the other, which read the neighbours that they share once. More taps: a thread
// owns one pixel and one row of taps. Each takes a quarter of the channels; the four threads of a
// place add up through shared memory. A neighbour's norm is summed along with the dot products,
// from the values that are in registers for them anyway, once for all pixels of the thread.
#include "differseg_kernels.h"
#include "element.cuh"
#include "launch.cuh"

#include <type_traits>

namespace differseg {
namespace {

constexpr int kLanes = 32;
constexpr int kSlices = 4;  // of the channels
constexpr int kThreads = kLanes * kSlices;
constexpr int kMostDilation = 64;
constexpr float kSmallestNorm = 1e-8f;

struct Similarity {
    int channels;
    int height;
    int width;
    int dilation;
    Divider byTapGroups;
    Divider byWidth;
    Divider byPieces;    // along H
    Divider byDilation;
    unsigned int items;  // of one group of taps
};

// What a thread compares: kRows pixels one dilation apart, with kTapRows rows of their taps.
template <int kSizeOf, int kRowsOf, int kTapRowsOf>
struct Patch {
    static constexpr int kSize = kSizeOf;
    static constexpr int kTaps = kSize * kSize;
    static constexpr int kHalf = kSize / 2;
    static constexpr int kRows = kRowsOf;
    static constexpr int kTapRows = kTapRowsOf;
    static constexpr int kTapGroups = kSize / kTapRows;
    static constexpr int kLines = kTapRows + kRows - 1;
    static constexpr int kInReach = kLines * kSize;
    static constexpr int kProducts = kTapRows * kSize;  // of one pixel
    // Where the sums lie: squares of the pixels in reach, products, squares of the pixels.
    static constexpr int kOfProducts = kInReach;
    static constexpr int kOfCentres = kOfProducts + kRows * kProducts;
    static constexpr int kSums = kOfCentres + kRows;
};

// Add the slices of a place up in the threads of slice 0.
template <int kCount>
__device__ __forceinline__ void addSlices(float (&sums)[kCount], float* shared) {
    const int lane = threadIdx.x % kLanes;
    const int slice = threadIdx.x / kLanes;
    for (int other = 1; other < kSlices; ++other) {
        if (slice == other) {
#pragma unroll
            for (int i = 0; i < kCount; ++i) {
                shared[i * kLanes + lane] = sums[i];
            }
        }
        __syncthreads();
        if (slice == 0) {
#pragma unroll
            for (int i = 0; i < kCount; ++i) {
                sums[i] += shared[i * kLanes + lane];
            }
        }
        __syncthreads();
    }
}

// Sum up squares and products of this slice's channels, the pixels in reach being where `lines`
// and `columns` say, those to compare in `centres`.
template <class P, typename T>
__device__ __forceinline__ void sumChannels(const T* const (&lines)[P::kLines],
                                            const T* const (&centres)[P::kRows],
                                            const int (&columns)[P::kSize], int count,
                                            size_t step, float (&sums)[P::kSums]) {
    size_t at = 0;
    for (int channel = 0; channel < count; ++channel, at += step) {
        float values[P::kInReach];
#pragma unroll
        for (int i = 0; i < P::kInReach; ++i) {
            values[i] = load(lines[i / P::kSize] + at + columns[i % P::kSize]);
            sums[i] += values[i] * values[i];
        }
#pragma unroll
        for (int p = 0; p < P::kRows; ++p) {
            const float centre = P::kTapGroups == 1 ? values[(p + P::kHalf) * P::kSize + P::kHalf]
                                                    : load(centres[p] + at);
            sums[P::kOfCentres + p] += centre * centre;
#pragma unroll
            for (int t = 0; t < P::kProducts; ++t) {
                if (P::kTapGroups == 1 && t == P::kTaps / 2) {
                    continue;
                }
                sums[P::kOfProducts + p * P::kProducts + t] += centre * values[p * P::kSize + t];
            }
        }
    }
}

__device__ __forceinline__ float inverseNorm(float square) {
    return 1.0f / fmaxf(sqrtf(square), kSmallestNorm);
}

// Where a thread's pixels lie, and its rows of taps.
struct Place {
    size_t image;
    int row;
    int column;
    int firstTapRow;
};

// What `sumChannels` reads of the slice's first channel, `plane`. Rows and columns outside repeat
// the border: what is summed up there is not used.
template <class P, typename T>
__device__ __forceinline__ void locate(const Similarity& task, const Place& place, const T* plane,
                                       const T* (&lines)[P::kLines], const T* (&centres)[P::kRows],
                                       int (&columns)[P::kSize]) {
#pragma unroll
    for (int i = 0; i < P::kLines; ++i) {
        const int at = place.row + (place.firstTapRow + i - P::kHalf) * task.dilation;
        lines[i] = plane + static_cast<size_t>(max(0, min(at, task.height - 1))) * task.width;
    }
#pragma unroll
    for (int p = 0; p < P::kRows; ++p) {
        const int at = min(place.row + p * task.dilation, task.height - 1);
        centres[p] = plane + static_cast<size_t>(at) * task.width + place.column;
    }
#pragma unroll
    for (int j = 0; j < P::kSize; ++j) {
        const int at = place.column + (j - P::kHalf) * task.dilation;
        columns[j] = max(0, min(at, task.width - 1));
    }
}

// Write the cosines of pixel p of the patch.
template <class P, typename T>
__device__ __forceinline__ void storeCosines(const Similarity& task, const Place& place, int p,
                                             const float (&sums)[P::kSums], T* y) {
    const int row = place.row + p * task.dilation;
    if (row >= task.height) {
        return;
    }
    const size_t size = static_cast<size_t>(task.height) * task.width;
    T* const to = y + place.image * (P::kTaps - 1) * size
                  + static_cast<size_t>(row) * task.width + place.column;
    const float ofCentre = inverseNorm(sums[P::kOfCentres + p]);
#pragma unroll
    for (int t = 0; t < P::kProducts; ++t) {
        const int tapRow = place.firstTapRow + t / P::kSize;
        const int tap = place.firstTapRow * P::kSize + t;
        const int otherRow = row + (tapRow - P::kHalf) * task.dilation;
        const int otherColumn = place.column + (t % P::kSize - P::kHalf) * task.dilation;
        const bool isInside = otherRow >= 0 && otherRow < task.height && otherColumn >= 0
                              && otherColumn < task.width;
        const float cosine = sums[P::kOfProducts + p * P::kProducts + t] * ofCentre
                             * inverseNorm(sums[p * P::kSize + t]);
        if (tap != P::kTaps / 2) {
            store(to + (tap > P::kTaps / 2 ? tap - 1 : tap) * size, isInside ? cosine : 0.0f);
        }
    }
}

template <class P, typename T>
__global__ void __launch_bounds__(kThreads, 4)
    compareNeighbours(const T* x, T* y, Similarity task) {
    DIFFERSEG_SHARED(float, shared);
    uint32_t tapGroup = blockIdx.x;
    const unsigned int item =
        task.byTapGroups.split(tapGroup) * kLanes + threadIdx.x % kLanes;
    const bool isThere = item < task.items;  // the others help with the barriers
    const int slice = threadIdx.x / kLanes;

    uint32_t column = isThere ? item : 0;
    uint32_t piece = task.byWidth.split(column);
    Place place;
    place.image = task.byPieces.split(piece);
    place.row = task.byDilation.split(piece) * P::kRows * task.dilation;
    place.row += piece;
    place.column = column;
    place.firstTapRow = tapGroup * P::kTapRows;

    const size_t size = static_cast<size_t>(task.height) * task.width;
    const T* lines[P::kLines];
    const T* centres[P::kRows];
    int columns[P::kSize];
    locate<P>(task, place, x + (place.image * task.channels + slice) * size, lines, centres,
              columns);
    float sums[P::kSums] = {};
    const int count = (task.channels - slice + kSlices - 1) / kSlices;
    sumChannels<P>(lines, centres, columns, count, kSlices * size, sums);
    addSlices(sums, shared);
    if (isThere && slice == 0) {
#pragma unroll
        for (int p = 0; p < P::kRows; ++p) {
            storeCosines<P>(task, place, p, sums, y);
        }
    }
}

template <class P, typename T>
int launchPatches(const T* x, T* y, int batch, Similarity task, void* stream) {
    const int64_t pieces =
        ceilDivide(task.height, int64_t{P::kRows} * task.dilation) * task.dilation;
    const int64_t ofImage = pieces * task.width;
    if (ofImage > (kMostBlocks - kLanes) / batch) {
        return cudaErrorInvalidConfiguration;
    }
    task.items = static_cast<unsigned int>(batch * ofImage);
    task.byTapGroups = Divider(P::kTapGroups);
    task.byWidth = Divider(task.width);
    task.byPieces = Divider(static_cast<uint32_t>(pieces));
    task.byDilation = Divider(task.dilation);
    return launch(compareNeighbours<P, T>, ceilDivide(task.items, kLanes) * P::kTapGroups,
                  kThreads, sizeof(float) * kLanes * P::kSums, stream, x, y, task);
}

template <typename T>
int launchSize(const T* x, T* y, int batch, int kernelSize, const Similarity& task,
               void* stream) {
    switch (kernelSize) {
        case 3: return launchPatches<Patch<3, 4, 3>>(x, y, batch, task, stream);
        case 5: return launchPatches<Patch<5, 1, 1>>(x, y, batch, task, stream);
        case 7: return launchPatches<Patch<7, 1, 1>>(x, y, batch, task, stream);
        case 9: return launchPatches<Patch<9, 1, 1>>(x, y, batch, task, stream);
        default: return cudaErrorInvalidValue;
    }
}

}  // namespace
}  // namespace differseg

int differseg_local_similarity(int dtype, const void* x, void* y, int batch, int channels,
                               int height, int width, int kernel_size, int dilation,
                               void* stream) {
    using namespace differseg;
    constexpr int64_t kMostPixels = 0x3fffffff;  // of a plane, counted in an int
    if (batch < 0 || channels < 1 || height < 1 || width < 1 || dilation < 1
        || dilation > kMostDilation || int64_t{height} * width > kMostPixels || kernel_size < 3
        || kernel_size > 9 || kernel_size % 2 == 0) {
        return cudaErrorInvalidValue;
    }
    Similarity task{};
    task.channels = channels;
    task.height = height;
    task.width = width;
    task.dilation = dilation;
    return withElement(dtype, [&](auto* element) -> int {
        using T = std::remove_pointer_t<decltype(element)>;
        if (batch == 0) {
            return cudaSuccess;
        }
        if (x == nullptr || y == nullptr) {
            return cudaErrorInvalidValue;
        }
        return launchSize(static_cast<const T*>(x), static_cast<T*>(y), batch, kernel_size, task,
                          stream);
    });
}
