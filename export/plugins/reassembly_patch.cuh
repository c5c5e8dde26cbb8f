// What one thread of a reassembly does: where its patch lies, the kernels of its pixels with the
// border settled in them, and their sums in one channel.  reassembly.cu has the strategy.
#pragma once

#include "element.cuh"
#include "launch.cuh"

namespace differseg {

constexpr int kMostKernel = 9;

struct Reassembly {
    int channels;
    int groups;
    int height;
    int width;
    int scale;
    int dilation;
    int border;
    int normalize;
    int share;      // channels of a thread
    int logLanes;   // threads of a block side by side; the others lie below
    int patchesAcross;
    int patchesDown;
    Divider byScale;
    Divider byHalfScale;
    Divider byDilation;
    Divider byShares;
    Divider byAcross;  // blocks
    Divider byDown;
    Divider byGroups;
    float window[kMostKernel];  // numpy.hamming(k)
};

// What a thread computes: kRows rows of x, one dilation apart, by kColumns neighbouring columns,
// and in each of these kSubs x kSubs pixels of output.
template <int kSizeOf, int kRowsOf, int kColumnsOf, int kSubsOf>
struct Patch {
    static constexpr int kSize = kSizeOf;
    static constexpr int kTaps = kSize * kSize;
    static constexpr int kHalf = kSize / 2;
    static constexpr int kRows = kRowsOf;
    static constexpr int kColumns = kColumnsOf;
    static constexpr int kSubs = kSubsOf;
    static constexpr int kOutRows = kRows * kSubs;
    static constexpr int kOutColumns = kColumns * kSubs;  // 1 or 2
    static constexpr int kLines = kSize + kRows - 1;      // rows of x under the taps
    // Columns of x under the taps of two neighbours, from the even one at or before the first tap.
    static constexpr int kPairs = 2 * ((kHalf + 1) / 2) + 1;
    static constexpr int kReads = kColumns == 2 ? kPairs : kSize;  // of a line
    static constexpr int kWeights = kTaps * kOutRows * kOutColumns;
    // Blocks of a multiprocessor that the registers for the weights leave room for.
    static constexpr int kBlocks = kWeights <= 40 ? 5 : kWeights <= 81 ? 4 : 3;
};

// Where a patch lies.
struct Place {
    int row;        // of x, the first
    int column;
    int outRow;     // within the first row of x
    int outColumn;  // of y
};

template <class P>
__device__ __forceinline__ Place placeOf(const Reassembly& task, int across, int down) {
    uint32_t rest = down;
    Place place{down, P::kColumns * across, 0, P::kOutColumns * across};
    if constexpr (P::kSubs > 1) {
        place.row = task.byHalfScale.split(rest);
        place.outRow = P::kSubs * rest;
        place.column = task.byHalfScale.divide(across);
    } else if constexpr (P::kRows > 1) {  // scale 1
        const int bundle = task.byDilation.split(rest);
        place.row = bundle * P::kRows * task.dilation + rest;
    } else {
        place.row = task.byScale.split(rest);
        place.outRow = rest;
        place.column = task.byScale.divide(across);
    }
    return place;
}

// Softmax over the taps, times the window where there is one, divided by the sum.
template <int kSize>
__device__ __forceinline__ void normalizeTaps(const Reassembly& task,
                                              float (&taps)[kSize * kSize]) {
    constexpr int kTaps = kSize * kSize;
    float most = taps[0];
#pragma unroll
    for (int t = 1; t < kTaps; ++t) {
        most = fmaxf(most, taps[t]);
    }
    float sum = 0.0f;
#pragma unroll
    for (int t = 0; t < kTaps; ++t) {
        taps[t] = expf(taps[t] - most);
        if (task.normalize == DIFFERSEG_HAMMING) {
            taps[t] *= task.window[t / kSize] * task.window[t % kSize];
        }
        sum += taps[t];
    }
    const float factor = 1.0f / sum;
#pragma unroll
    for (int t = 0; t < kTaps; ++t) {
        taps[t] *= factor;
    }
}

// The kernels of a patch, normalised, by row and column of its output.
template <class P>
struct Weights {
    float of[P::kOutRows][P::kOutColumns][P::kTaps];

    template <typename T>
    __device__ __forceinline__ void read(const Reassembly& task, const T* kernels, size_t outSize,
                                         const size_t (&rows)[P::kOutRows]) {
#pragma unroll
        for (int r = 0; r < P::kOutRows; ++r) {
#pragma unroll
            for (int t = 0; t < P::kTaps; ++t) {
                const T* const at = kernels + t * outSize + rows[r];
                if constexpr (P::kOutColumns == 2) {
                    const float2 pair = loadPair(at);
                    of[r][0][t] = pair.x;
                    of[r][1][t] = pair.y;
                } else {
                    of[r][0][t] = load(at);
                }
            }
            if (task.normalize != DIFFERSEG_NONE) {
#pragma unroll
                for (int c = 0; c < P::kOutColumns; ++c) {
                    normalizeTaps<P::kSize>(task, of[r][c]);
                }
            }
        }
    }

    // Row i of the lines under the patch counts for nothing.
    __device__ __forceinline__ void dropLine(int i) {
#pragma unroll
        for (int r = 0; r < P::kOutRows; ++r) {
            const int tap = i - r / P::kSubs;
            if (tap >= 0 && tap < P::kSize) {
#pragma unroll
                for (int c = 0; c < P::kOutColumns; ++c) {
#pragma unroll
                    for (int j = 0; j < P::kSize; ++j) {
                        of[r][c][tap * P::kSize + j] = 0.0f;
                    }
                }
            }
        }
    }

    // Column j of the taps counts for nothing in column c of the output, or for column `heir`.
    __device__ __forceinline__ void dropColumn(int c, int j, int heir, bool isInherited) {
#pragma unroll
        for (int r = 0; r < P::kOutRows; ++r) {
#pragma unroll
            for (int i = 0; i < P::kTaps; i += P::kSize) {
                of[r][c][i + heir] += isInherited ? of[r][c][i + j] : 0.0f;
                of[r][c][i + j] = 0.0f;
            }
        }
    }
};

// Rows of x under the taps, as offsets in a channel. Those outside x have no weight, or with
// border edge repeat the first or last row.
template <class P>
__device__ __forceinline__ void settleRows(const Reassembly& task, const Place& place, int lastRow,
                                           Weights<P>& weights, int (&lines)[P::kLines]) {
#pragma unroll
    for (int i = 0; i < P::kLines; ++i) {
        int row = place.row + (i - P::kHalf) * task.dilation;
        if (task.border == DIFFERSEG_EDGE) {
            row = max(0, min(row, task.height - 1));
        } else if (row < 0 || row >= task.height) {
            row = place.row + (row < 0 ? 0 : lastRow * task.dilation);
            weights.dropLine(i);
        }
        lines[i] = row * task.width;
    }
}

// Columns of x under the taps, likewise; in pairs where the patch reads such.
template <class P>
__device__ __forceinline__ void settleColumns(const Reassembly& task, const Place& place,
                                              Weights<P>& weights, int (&columns)[P::kReads]) {
    const bool isEdge = task.border == DIFFERSEG_EDGE;
    if constexpr (P::kColumns == 2) {
        // Taps without gaps reach the border itself as well: it inherits what lies beyond.
#pragma unroll
        for (int c = 0; c < 2; ++c) {
#pragma unroll
            for (int j = 0; j < P::kHalf; ++j) {
                if (place.column + c + j - P::kHalf < 0) {
                    weights.dropColumn(c, j, j + 1, isEdge);
                }
                if (place.column + c + P::kHalf - j >= task.width) {
                    weights.dropColumn(c, P::kSize - 1 - j, P::kSize - 2 - j, isEdge);
                }
            }
        }
#pragma unroll
        for (int j = 0; j < P::kReads; ++j) {
            const int column = place.column + 2 * (j - P::kReads / 2);
            columns[j] = column >= 0 && column < task.width ? column : place.column;
        }
    } else {
#pragma unroll
        for (int j = 0; j < P::kSize; ++j) {
            const int column = place.column + (j - P::kHalf) * task.dilation;
            const bool isInside = column >= 0 && column < task.width;
            columns[j] = isEdge     ? max(0, min(column, task.width - 1))
                         : isInside ? column
                                    : place.column;
            if (!isInside && !isEdge) {
#pragma unroll
                for (int c = 0; c < P::kOutColumns; ++c) {
                    weights.dropColumn(c, j, j, false);
                }
            }
        }
    }
}

// One line of x under the taps, from its first tap's column on.
template <class P, typename T>
__device__ __forceinline__ void readLine(const T* line, const int (&columns)[P::kReads],
                                         float (&values)[P::kSize + P::kColumns - 1]) {
    if constexpr (P::kColumns == 2) {
        constexpr int kSkipped = P::kReads / 2 * 2 - P::kHalf;  // before the first tap
        float pairs[2 * P::kReads];
#pragma unroll
        for (int j = 0; j < P::kReads; ++j) {
            const float2 pair = loadPair(line + columns[j]);
            pairs[2 * j] = pair.x;
            pairs[2 * j + 1] = pair.y;
        }
#pragma unroll
        for (int j = 0; j < P::kSize + 1; ++j) {
            values[j] = pairs[kSkipped + j];
        }
    } else {
#pragma unroll
        for (int j = 0; j < P::kSize; ++j) {
            values[j] = load(line + columns[j]);
        }
    }
}

// Keeps the compiler from knowing where a line comes from. From SM 10.0 on it would otherwise carry
// one pointer a tap from channel to channel, up to 81, and spill the weights for them.
template <typename T>
__device__ __forceinline__ void hideOrigin([[maybe_unused]] const T*& line) {
#if __CUDA_ARCH__ >= 1000
    asm("" : "+l"(line));
#endif
}

// The sums of a patch in one channel.
template <class P, typename T>
__device__ __forceinline__ void addTaps(const T* const (&lines)[P::kLines],
                                        const Weights<P>& weights,
                                        const int (&columns)[P::kReads],
                                        float (&sums)[P::kOutRows][P::kOutColumns]) {
#pragma unroll
    for (int i = 0; i < P::kLines; ++i) {
        float values[P::kSize + P::kColumns - 1];
        readLine<P>(lines[i], columns, values);
#pragma unroll
        for (int r = 0; r < P::kOutRows; ++r) {
            const int tap = i - r / P::kSubs;
            if (tap >= 0 && tap < P::kSize) {
#pragma unroll
                for (int c = 0; c < P::kOutColumns; ++c) {
#pragma unroll
                    for (int j = 0; j < P::kSize; ++j) {
                        sums[r][c] += weights.of[r][c][tap * P::kSize + j]
                                      * values[j + (P::kColumns == 2 ? c : 0)];
                    }
                }
            }
        }
    }
}

}  // namespace differseg
