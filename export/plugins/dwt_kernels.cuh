// The wavelet decomposition in one pass over memory: three kernels by the length of the filters.
//
// Convention: c[k] = sum_j filter[j] x[2k + c - j], c = 1, or taps / 2 for periodization.
#pragma once

#include "wavelet_border.cuh"

namespace differseg {

struct Decomposition {
    int height;
    int width;
    int bandHeight;
    int bandWidth;
    int mode;
    int offset;       // of the first tap's sample from 2k: c - (taps - 1)
    Divider byAcross;  // work items along a row
    Divider byDown;    // and along a column
    unsigned int items;

    __device__ __forceinline__ size_t bandSize() const {
        return static_cast<size_t>(bandHeight) * bandWidth;
    }
    __device__ __forceinline__ size_t size() const {
        return static_cast<size_t>(height) * width;
    }
};

// Which piece of which plane a thread (or block) works on.
struct Piece {
    size_t plane;
    int down;
    int across;
};

template <class Task>
__device__ __forceinline__ Piece pieceOf(const Task& task, unsigned int item) {
    Piece piece;
    uint32_t across = item;
    uint32_t down = task.byAcross.split(across);
    piece.plane = task.byDown.split(down);
    piece.down = down;
    piece.across = across;
    return piece;
}

// Two taps, rows of whole 16-byte words: a thread reads one word of two rows and writes 8 bytes
// of each band. Samples and coefficients cross memory once, in wide accesses.
template <typename T>
__global__ void decomposeWords(const T* x, T* bands, Bank<2> bank, Decomposition task) {
    constexpr int kSamples = 16 / sizeof(T);
    constexpr int kCount = kSamples / 2;
    const unsigned int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= task.items) {
        return;
    }
    const Piece piece = pieceOf(task, item);
    const T* const plane = x + piece.plane * task.size() + piece.across * kSamples;
    const int second = extended(2 * piece.down + 1, task.height, task.mode);
    float samples[2][kSamples] = {};
    loadMany<16>(plane + static_cast<size_t>(2 * piece.down) * task.width, samples[0]);
    if (second != kNowhere) {
        loadMany<16>(plane + static_cast<size_t>(second) * task.width, samples[1]);
    }
    float low[2][kCount];
    float high[2][kCount];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            low[r][i] = bank.low[1] * samples[r][2 * i] + bank.low[0] * samples[r][2 * i + 1];
            high[r][i] = bank.high[1] * samples[r][2 * i] + bank.high[0] * samples[r][2 * i + 1];
        }
    }
    T* const out = bands + 4 * piece.plane * task.bandSize()
                   + static_cast<size_t>(piece.down) * task.bandWidth + piece.across * kCount;
    float coefficients[4][kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
        coefficients[0][i] = bank.low[1] * low[0][i] + bank.low[0] * low[1][i];
        coefficients[1][i] = bank.high[1] * low[0][i] + bank.high[0] * low[1][i];
        coefficients[2][i] = bank.low[1] * high[0][i] + bank.low[0] * high[1][i];
        coefficients[3][i] = bank.high[1] * high[0][i] + bank.high[0] * high[1][i];
    }
#pragma unroll
    for (int band = 0; band < 4; ++band) {
        storeMany<8>(out + band * task.bandSize(), coefficients[band]);
    }
}

constexpr int kStripRows = 4;  // of coefficients that a thread computes, one below the other

// How a strip reads the samples under its taps: one by one, or in aligned pairs that begin at the
// first of them or one before.
enum class Reads { kSingle, kPairs, kPairsFromBefore };

// Filter rows of samples along W; `read(i, samples)` gives row i under the taps.
template <int kTaps, int kRows, class Read>
__device__ __forceinline__ void filterRows(const Bank<kTaps>& bank, float (&low)[kRows],
                                           float (&high)[kRows], const Read& read) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        float samples[kTaps];
        read(i, samples);
        low[i] = 0.0f;
        high[i] = 0.0f;
#pragma unroll
        for (int j = 0; j < kTaps; ++j) {
            low[i] += bank.low[kTaps - 1 - j] * samples[j];
            high[i] += bank.high[kTaps - 1 - j] * samples[j];
        }
    }
}

// A row of `plane`, the first one where there is none; its samples then count as zero.
template <typename T>
__device__ __forceinline__ const T* rowOf(const T* plane, int row, int width) {
    return plane + static_cast<size_t>(row != kNowhere ? row : 0) * width;
}

// Filter rows that lie inside the map under all taps, in pairs from `kBefore` before the first.
template <int kBefore, typename T, int kTaps, int kRows>
__device__ __forceinline__ void filterPairs(const T* plane, int width, const Bank<kTaps>& bank,
                                            const int (&rows)[kRows], int firstColumn,
                                            float (&low)[kRows], float (&high)[kRows]) {
    filterRows(bank, low, high, [&](int i, float (&samples)[kTaps]) {
        const T* const at = rowOf(plane, rows[i], width) + firstColumn - kBefore;
        float read[kTaps + 2 * kBefore];
#pragma unroll
        for (int j = 0; j < kTaps + 2 * kBefore; j += 2) {
            const float2 pair =
                rows[i] != kNowhere ? loadPair(at + j) : make_float2(0.0f, 0.0f);
            read[j] = pair.x;
            read[j + 1] = pair.y;
        }
#pragma unroll
        for (int j = 0; j < kTaps; ++j) {
            samples[j] = read[kBefore + j];
        }
    });
}

// Filter rows wherever they lie.
template <typename T, int kTaps, int kRows>
__device__ __forceinline__ void filterSingles(const T* plane, const Decomposition& task,
                                              const Bank<kTaps>& bank, const int (&rows)[kRows],
                                              int firstColumn, float (&low)[kRows],
                                              float (&high)[kRows]) {
    int columns[kTaps];
#pragma unroll
    for (int j = 0; j < kTaps; ++j) {
        columns[j] = extended(firstColumn + j, task.width, task.mode);
    }
    filterRows(bank, low, high, [&](int i, float (&samples)[kTaps]) {
        const T* const line = rowOf(plane, rows[i], task.width);
#pragma unroll
        for (int j = 0; j < kTaps; ++j) {
            const bool isThere = rows[i] != kNowhere && columns[j] != kNowhere;
            samples[j] = isThere ? load(line + columns[j]) : 0.0f;
        }
    });
}

// Filter a strip along H and write its coefficients, `count` rows of each band at most.
template <typename T, int kTaps, int kRows>
__device__ __forceinline__ void filterColumn(const Bank<kTaps>& bank, const float (&low)[kRows],
                                             const float (&high)[kRows], int count,
                                             const Decomposition& task, T* out) {
#pragma unroll
    for (int s = 0; s < kStripRows; ++s) {
        float coefficients[4] = {};
#pragma unroll
        for (int j = 0; j < kTaps; ++j) {
            const float ofLow = low[2 * s + kTaps - 1 - j];
            const float ofHigh = high[2 * s + kTaps - 1 - j];
            coefficients[0] += bank.low[j] * ofLow;
            coefficients[1] += bank.high[j] * ofLow;
            coefficients[2] += bank.low[j] * ofHigh;
            coefficients[3] += bank.high[j] * ofHigh;
        }
        if (s < count) {
#pragma unroll
            for (int band = 0; band < 4; ++band) {
                store(out + band * task.bandSize(), coefficients[band]);
            }
        }
        out += task.bandWidth;
    }
}

// Up to 6 taps: a thread goes down a strip of one column of coefficients. Each row of samples is
// filtered along W once and stays in registers for the filters along H; neighbouring threads read
// overlapping samples through the L1 cache. Where the samples lie is settled before the first is
// read, so that many reads are under way at once.
template <typename T, int kTaps>
__global__ void decomposeStrips(const T* x, T* bands, Bank<kTaps> bank, Decomposition task,
                                Reads reads) {
    constexpr int kRows = 2 * kStripRows + kTaps - 2;
    const unsigned int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= task.items) {
        return;
    }
    const Piece piece = pieceOf(task, item);
    const T* const plane = x + piece.plane * task.size();
    const int firstBand = piece.down * kStripRows;
    int rows[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        rows[i] = extended(2 * firstBand + task.offset + i, task.height, task.mode);
    }
    const int column = 2 * piece.across + task.offset;
    const int before = reads == Reads::kPairsFromBefore ? 1 : 0;
    const bool isInside = column >= before && column + kTaps + before <= task.width;
    float low[kRows];
    float high[kRows];
    if (kTaps > 2 && isInside && reads == Reads::kPairs) {
        filterPairs<0>(plane, task.width, bank, rows, column, low, high);
    } else if (kTaps > 2 && isInside && reads == Reads::kPairsFromBefore) {
        filterPairs<1>(plane, task.width, bank, rows, column, low, high);
    } else {
        filterSingles(plane, task, bank, rows, column, low, high);
    }
    T* const out = bands + 4 * piece.plane * task.bandSize()
                   + static_cast<size_t>(firstBand) * task.bandWidth + piece.across;
    filterColumn(bank, low, high, task.bandHeight - firstBand, task, out);
}

constexpr int kTileAcross = 32;  // coefficients of a block along W, one a lane
constexpr int kTileDown = 16;    // and along H
constexpr int kTileThreads = 256;

// Floats of shared memory: the samples under a tile, and their rows' (low, high) pairs.
__host__ __device__ constexpr int tileSamplesAcross(int taps) {
    return 2 * kTileAcross + taps - 2;
}
__host__ __device__ constexpr int tileSamplesDown(int taps) { return 2 * kTileDown + taps - 2; }
constexpr size_t decompositionBytes(int taps) {
    return sizeof(float) * tileSamplesDown(taps) * (tileSamplesAcross(taps) + 2 * kTileAcross);
}

// Any number of taps: a block loads the samples under a tile of coefficients into shared memory,
// filters them along W there, then along H. Lanes are neighbours along W: without bank conflicts.
template <typename T>
__global__ void __launch_bounds__(kTileThreads)
    decomposeTiles(const T* x, T* bands, PairedBank bank, int taps, Decomposition task) {
    DIFFERSEG_SHARED(float, shared);
    const int across = tileSamplesAcross(taps);
    const int down = tileSamplesDown(taps);
    float* const samples = shared;                                          // (down, across)
    float2* const rows = reinterpret_cast<float2*>(shared + down * across);  // (down, 32)
    const Piece piece = pieceOf(task, blockIdx.x);
    const int lane = threadIdx.x % kTileAcross;
    const int warp = threadIdx.x / kTileAcross;
    constexpr int kWarps = kTileThreads / kTileAcross;

    const T* const plane = x + piece.plane * task.size();
    constexpr int kReads = (tileSamplesAcross(kMostTaps) + kTileAcross - 1) / kTileAcross;
    int columns[kReads];
#pragma unroll
    for (int c = 0; c < kReads; ++c) {
        columns[c] = extended(2 * piece.across * kTileAcross + task.offset + lane
                                  + c * kTileAcross, task.width, task.mode);
    }
    for (int i = warp; i < down; i += kWarps) {
        const int row = extended(2 * piece.down * kTileDown + task.offset + i, task.height,
                                 task.mode);
        const T* const line = plane + static_cast<size_t>(row != kNowhere ? row : 0) * task.width;
        float values[kReads];
#pragma unroll
        for (int c = 0; c < kReads; ++c) {
            const bool isThere = row != kNowhere && columns[c] != kNowhere;
            values[c] = isThere ? load(line + columns[c]) : 0.0f;
        }
#pragma unroll
        for (int c = 0; c < kReads; ++c) {
            if (lane + c * kTileAcross < across) {
                samples[i * across + lane + c * kTileAcross] = values[c];
            }
        }
    }
    __syncthreads();
    // Sample 2 * lane + taps - 1 - j meets tap j: the pairs of samples meet those of taps reversed.
    for (int i = warp; i < down; i += kWarps) {
        const float2* const pairs = reinterpret_cast<const float2*>(samples + i * across) + lane;
        float2 sum = make_float2(0.0f, 0.0f);
        for (int q = 0; q < taps / 2; ++q) {
            const float2 pair = pairs[taps / 2 - 1 - q];
            const float4 filter = bank.pair[q];
            sum.x += filter.x * pair.y;
            sum.x += filter.y * pair.x;
            sum.y += filter.z * pair.y;
            sum.y += filter.w * pair.x;
        }
        rows[i * kTileAcross + lane] = sum;
    }
    __syncthreads();
    const int column = piece.across * kTileAcross + lane;
    T* const out = bands + 4 * piece.plane * task.bandSize() + column;
    for (int i = warp; i < kTileDown; i += kWarps) {
        const int row = piece.down * kTileDown + i;
        if (row < task.bandHeight && column < task.bandWidth) {
            float coefficients[4] = {};
            const float2* const last = rows + (2 * i + taps - 1) * kTileAcross + lane;
            for (int q = 0; q < taps / 2; ++q) {
                const float2 one = last[-2 * q * kTileAcross];
                const float2 other = last[-(2 * q + 1) * kTileAcross];
                const float4 filter = bank.pair[q];
                coefficients[0] += filter.x * one.x;
                coefficients[0] += filter.y * other.x;
                coefficients[1] += filter.z * one.x;
                coefficients[1] += filter.w * other.x;
                coefficients[2] += filter.x * one.y;
                coefficients[2] += filter.y * other.y;
                coefficients[3] += filter.z * one.y;
                coefficients[3] += filter.w * other.y;
            }
#pragma unroll
            for (int band = 0; band < 4; ++band) {
                store(out + band * task.bandSize() + static_cast<size_t>(row) * task.bandWidth,
                      coefficients[band]);
            }
        }
    }
}

}  // namespace differseg
