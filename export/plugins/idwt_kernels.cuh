// The wavelet reconstruction in one pass over memory: three kernels by the length of the filters.
//
// Convention: x[m] = sum_k c[k] filter[m + s - 2k], s = taps - 2, or taps / 2 - 1 for
// periodization, where k wraps around. With m + s = 2t and 2t + 1 the coefficients are the same,
// k = t - taps / 2 + 1 .. t: the kernels count in such pairs of samples along H, which for odd s
// begin one sample before the even ones; along W they write samples 2u and 2u + 1 together.
#pragma once

#include "dwt_kernels.cuh"

namespace differseg {

struct Reconstruction {
    int height;
    int width;
    int bandHeight;
    int bandWidth;
    int mode;
    int shift;        // s
    int firstPair;    // t of the first sample: s / 2
    Divider byAcross;
    Divider byDown;
    unsigned int items;

    __device__ __forceinline__ size_t bandSize() const {
        return static_cast<size_t>(bandHeight) * bandWidth;
    }
    __device__ __forceinline__ size_t size() const {
        return static_cast<size_t>(height) * width;
    }

    // Coefficient k of n. Beyond the last one lie only samples that nobody asked for.
    __device__ __forceinline__ int coefficient(int k, int n) const {
        if (k >= 0 && k < n) {
            return k;
        }
        return mode == DIFFERSEG_PERIODIZATION ? extendedOutside(k, n, DIFFERSEG_PERIODIC)
                                               : (k < 0 ? 0 : n - 1);
    }
};

// Two taps, rows of whole 16-byte words: a thread reads 8 bytes of each band and writes one word
// of two rows.
template <typename T>
__global__ void reconstructWords(const T* bands, T* x, Bank<2> bank, Reconstruction task) {
    constexpr int kSamples = 16 / sizeof(T);
    constexpr int kCount = kSamples / 2;
    const unsigned int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= task.items) {
        return;
    }
    const Piece piece = pieceOf(task, item);
    const T* const from = bands + 4 * piece.plane * task.bandSize()
                          + static_cast<size_t>(piece.down) * task.bandWidth
                          + piece.across * kCount;
    float coefficients[4][kCount];
#pragma unroll
    for (int band = 0; band < 4; ++band) {
        loadMany<8>(from + band * task.bandSize(), coefficients[band]);
    }
    T* const to = x + piece.plane * task.size()
                  + static_cast<size_t>(2 * piece.down) * task.width + piece.across * kSamples;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float samples[kSamples];
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
            const float low = bank.low[r] * coefficients[0][i]
                              + bank.high[r] * coefficients[1][i];
            const float high = bank.low[r] * coefficients[2][i]
                               + bank.high[r] * coefficients[3][i];
            samples[2 * i] = bank.low[0] * low + bank.high[0] * high;
            samples[2 * i + 1] = bank.low[1] * low + bank.high[1] * high;
        }
        if (2 * piece.down + r < task.height) {
            storeMany<16>(to + static_cast<size_t>(r) * task.width, samples);
        }
    }
}

// Put a row of coefficients together along W, into the samples (2u, 2u + 1) that the filters along
// H take. `line` is the row in band LL; `columns` are the coefficients that reach the samples: the
// same for both or, where the shift is odd, the second sample's one further than the first's.
template <bool kIsOdd, int kTaps, typename T>
__device__ __forceinline__ void putTogether(const Bank<kTaps>& bank, const T* line, size_t bandSize,
                                            const int (&columns)[kTaps / 2 + kIsOdd], float2& low,
                                            float2& high) {
    constexpr int kWindow = kTaps / 2;
    low = make_float2(0.0f, 0.0f);
    high = make_float2(0.0f, 0.0f);
#pragma unroll
    for (int j = 0; j < kWindow + kIsOdd; ++j) {
        const T* const at = line + columns[j];
        const float ll = load(at);
        const float lh = load(at + bandSize);
        const float hl = load(at + 2 * bandSize);
        const float hh = load(at + 3 * bandSize);
        if (j < kWindow) {
            const int tap = kTaps - 2 - 2 * j + kIsOdd;
            low.x += bank.low[tap] * ll;
            low.x += bank.high[tap] * hl;
            high.x += bank.low[tap] * lh;
            high.x += bank.high[tap] * hh;
        }
        if (j >= kIsOdd) {
            const int tap = kIsOdd ? kTaps - 2 * j : kTaps - 1 - 2 * j;
            low.y += bank.low[tap] * ll;
            low.y += bank.high[tap] * hl;
            high.y += bank.low[tap] * lh;
            high.y += bank.high[tap] * hh;
        }
    }
}

// Row r of the two that a strip makes at place s of the rows put together.
template <int kTaps, int kRows>
__device__ __forceinline__ float2 samplesOf(const Bank<kTaps>& bank, const float2 (&low)[kRows],
                                            const float2 (&high)[kRows], int s, int r) {
    float2 samples = make_float2(0.0f, 0.0f);
#pragma unroll
    for (int i = 0; i < kTaps / 2; ++i) {
        const float ofLow = bank.low[kTaps - 2 + r - 2 * i];
        const float ofHigh = bank.high[kTaps - 2 + r - 2 * i];
        samples.x += ofLow * low[s + i].x;
        samples.x += ofHigh * high[s + i].x;
        samples.y += ofLow * low[s + i].y;
        samples.y += ofHigh * high[s + i].y;
    }
    return samples;
}

// Write samples `column`, which is even, and the next of a row.
template <typename T>
__device__ __forceinline__ void storeSamples(T* row, int column, int width, bool hasPairs,
                                             float2 samples) {
    if (hasPairs) {
        storePair(row + column, samples);
    } else {
        store(row + column, samples.x);
        if (column + 1 < width) {
            store(row + column + 1, samples.y);
        }
    }
}

// Up to 6 taps: a thread goes down a strip of the samples in columns 2u and 2u + 1. Each row of
// coefficients is put together along W once and stays in registers for the filters along H.
// `kIsOdd`: whether the shift is.
template <typename T, int kTaps, bool kIsOdd>
__global__ void reconstructStrips(const T* bands, T* x, Bank<kTaps> bank, Reconstruction task,
                                  bool hasPairs) {
    constexpr int kWindow = kTaps / 2;
    constexpr int kRows = kStripRows + kWindow - 1;
    const unsigned int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= task.items) {
        return;
    }
    const Piece piece = pieceOf(task, item);
    const int pairDown = task.firstPair + piece.down * kStripRows;
    const int pairAcross = task.firstPair + piece.across;
    int columns[kWindow + kIsOdd];
#pragma unroll
    for (int j = 0; j < kWindow + kIsOdd; ++j) {
        columns[j] = task.coefficient(pairAcross - kWindow + 1 + j, task.bandWidth);
    }
    int rows[kRows];  // settled before the first is read, as in decomposeStrips
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        rows[i] = task.coefficient(pairDown - kWindow + 1 + i, task.bandHeight);
    }
    const T* const plane = bands + 4 * piece.plane * task.bandSize();
    float2 low[kRows];
    float2 high[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
        putTogether<kIsOdd>(bank, plane + static_cast<size_t>(rows[i]) * task.bandWidth,
                            task.bandSize(), columns, low[i], high[i]);
    }
    T* const out = x + piece.plane * task.size();
#pragma unroll
    for (int s = 0; s < 2 * kStripRows; ++s) {
        const float2 samples = samplesOf(bank, low, high, s / 2, s % 2);
        const int row = 2 * pairDown - task.shift + s;
        if (row >= 0 && row < task.height) {
            storeSamples(out + static_cast<size_t>(row) * task.width, 2 * piece.across,
                         task.width, hasPairs, samples);
        }
    }
}

// Coefficients under a tile of 32 x 16 pairs of samples; one column more for an odd shift.
__host__ __device__ constexpr int tileCoefficientsAcross(int taps) {
    return kTileAcross + taps / 2;
}
__host__ __device__ constexpr int tileCoefficientsDown(int taps) {
    return kTileDown + taps / 2 - 1;
}
// Four bands of them, and their rows put together: samples 2u and 2u + 1, low and high.
constexpr size_t reconstructionBytes(int taps) {
    return sizeof(float4) * tileCoefficientsDown(taps)
           * (tileCoefficientsAcross(taps) + kTileAcross);
}

// Put a row of a tile together along W. Coefficient t - q meets taps 2q and 2q + 1; an odd shift
// makes the first sample of a pair the odd one of t, the second the even one of t + 1.
__device__ __forceinline__ float4 putTogetherTiled(const PairedBank& bank, const float4* last,
                                                   int window, bool isOdd) {
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);  // low x, low y, high x, high y
    for (int q = 0; q < window; ++q) {
        const float4 filter = bank.pair[q];
        const float4 first = last[-q];
        const float4 second = isOdd ? last[1 - q] : first;
        const float ofLow = isOdd ? filter.y : filter.x;
        const float ofHigh = isOdd ? filter.w : filter.z;
        const float thenLow = isOdd ? filter.x : filter.y;
        const float thenHigh = isOdd ? filter.z : filter.w;
        sum.x += ofLow * first.x;
        sum.x += ofHigh * first.z;
        sum.y += thenLow * second.x;
        sum.y += thenHigh * second.z;
        sum.z += ofLow * first.y;
        sum.z += ofHigh * first.w;
        sum.w += thenLow * second.y;
        sum.w += thenHigh * second.w;
    }
    return sum;
}

// Any number of taps: a block loads the coefficients under a tile into shared memory, the four
// bands side by side, puts them together along W there, then along H.
template <typename T>
__global__ void __launch_bounds__(kTileThreads)
    reconstructTiles(const T* bands, T* x, PairedBank bank, int taps, Reconstruction task,
                     bool hasPairs) {
    DIFFERSEG_SHARED(float4, coefficients);  // (down, across): LL, LH, HL, HH
    const int window = taps / 2;
    const int across = tileCoefficientsAcross(taps);
    const int down = tileCoefficientsDown(taps);
    float4* const rows = coefficients + down * across;  // (down, 32)
    const Piece piece = pieceOf(task, blockIdx.x);
    const int lane = threadIdx.x % kTileAcross;
    const int warp = threadIdx.x / kTileAcross;
    constexpr int kWarps = kTileThreads / kTileAcross;
    const int firstDown = task.firstPair + piece.down * kTileDown;
    const int firstAcross = task.firstPair + piece.across * kTileAcross;

    const T* const plane = bands + 4 * piece.plane * task.bandSize();
    for (int i = warp; i < down; i += kWarps) {
        const int row = task.coefficient(firstDown - window + 1 + i, task.bandHeight);
        const T* const line = plane + static_cast<size_t>(row) * task.bandWidth;
        for (int j = lane; j < across; j += kTileAcross) {
            const T* const at = line + task.coefficient(firstAcross - window + 1 + j,
                                                        task.bandWidth);
            coefficients[i * across + j] = make_float4(
                load(at), load(at + task.bandSize()), load(at + 2 * task.bandSize()),
                load(at + 3 * task.bandSize()));
        }
    }
    __syncthreads();
    for (int i = warp; i < down; i += kWarps) {
        rows[i * kTileAcross + lane] = putTogetherTiled(
            bank, coefficients + i * across + lane + window - 1, window, task.shift % 2 == 1);
    }
    __syncthreads();
    const int column = 2 * (piece.across * kTileAcross + lane);
    if (column >= task.width) {
        return;
    }
    T* const out = x + piece.plane * task.size();
    for (int i = warp; i < kTileDown; i += kWarps) {
        const float4* const last = rows + (i + window - 1) * kTileAcross + lane;
        float2 even = make_float2(0.0f, 0.0f);
        float2 odd = make_float2(0.0f, 0.0f);
        for (int q = 0; q < window; ++q) {
            const float4 at = last[-q * kTileAcross];
            const float4 filter = bank.pair[q];
            even.x += filter.x * at.x;
            even.x += filter.z * at.z;
            even.y += filter.x * at.y;
            even.y += filter.z * at.w;
            odd.x += filter.y * at.x;
            odd.x += filter.w * at.z;
            odd.y += filter.y * at.y;
            odd.y += filter.w * at.w;
        }
        const int row = 2 * (firstDown + i) - task.shift;
        T* const to = out + static_cast<ptrdiff_t>(row) * task.width;
        if (row >= 0 && row < task.height) {
            storeSamples(to, column, task.width, hasPairs, even);
        }
        if (row + 1 < task.height) {
            storeSamples(to + task.width, column, task.width, hasPairs, odd);
        }
    }
}

}  // namespace differseg
