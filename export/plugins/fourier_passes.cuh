// The four passes of the 2-D transforms: what each reads, what it writes, and where.
//
// A pass has `source` and `sink` of one line (see fourier_line.cuh), and `finish`, which is called
// with the transformed lines where `kKeeps` asks for them.  fourier.cu has the strategy.
#pragma once

#include "element.cuh"
#include "fourier_line.cuh"

namespace differseg {

// Convention: pairs of rows count as plane * pairs + pair, columns as plane * half + k.
struct Geometry {
    int height;
    int width;
    int half;       // W / 2 + 1
    int pairs;      // of rows, rounded up
    int allPairs;   // of all planes
    int allColumns;
    int logColumns;  // of a tile of the workspace
    float factor;
    Divider byHalf;
    Divider byPairs;

    // Where the workspace holds row n of a column; row n + 1 follows at `tileWidth()`.
    __device__ __forceinline__ size_t place(int column, int n) const {
        const size_t row = static_cast<size_t>(column >> logColumns) * height + n;
        return (row << logColumns) + (column & (tileWidth() - 1));
    }
    __host__ __device__ __forceinline__ int tileWidth() const { return 1 << logColumns; }
};

__device__ __forceinline__ float2 nothing() { return make_float2(0.0f, 0.0f); }

// Rows of maps to half spectra in the workspace.
template <typename T>
struct RowsForward {
    using Layout = RowTile;
    static constexpr bool kKeeps = true;
    Geometry g;
    const T* x;
    float2* workspace;

    __host__ __device__ __forceinline__ int total() const { return g.allPairs; }

    __device__ __forceinline__ auto source(int line) const {
        uint32_t pair = line;
        const size_t plane = g.byPairs.split(pair);
        const T* const row = x + (plane * g.height + 2 * pair) * g.width;
        const bool isThere = line < g.allPairs;
        const bool hasSecond = isThere && static_cast<int>(2 * pair + 1) < g.height;
        const int width = g.width;
        return [=](int n) {
            return make_float2(isThere ? load(row + n) : 0.0f,
                               hasSecond ? load(row + width + n) : 0.0f);
        };
    }

    __device__ __forceinline__ auto sink(int) const {
        return [](int, float2) {};
    }

    // The spectra of the two rows, which lie in the even and the odd part of their line's.
    template <class Result>
    __device__ __forceinline__ void finish(int first, int lines, const Result& result) const {
        for (int job = threadIdx.x; job < lines * g.half; job += blockDim.x) {
            uint32_t k = job;
            const int line = g.byHalf.split(k);
            uint32_t pair = first + line;
            if (static_cast<int>(pair) < g.allPairs) {
                const int plane = g.byPairs.split(pair);
                const float2 a = result(line, k);
                const float2 b = result(line, k == 0 ? 0 : g.width - k);
                const size_t at = g.place(plane * g.half + k, 2 * pair);
                workspace[at] = make_float2(0.5f * (a.x + b.x), 0.5f * (a.y - b.y));
                if (static_cast<int>(2 * pair + 1) < g.height) {
                    workspace[at + g.tileWidth()] =
                        make_float2(0.5f * (a.y + b.y), 0.5f * (b.x - a.x));
                }
            }
        }
    }
};

// Columns of the workspace to the spectrum.
template <typename T>
struct ColumnsForward {
    using Layout = ColumnTile;
    static constexpr bool kKeeps = false;
    Geometry g;
    const float2* workspace;
    T* spectrum;

    __host__ __device__ __forceinline__ int total() const { return g.allColumns; }

    __device__ __forceinline__ auto source(int column) const {
        const float2* const from = workspace + g.place(column, 0);
        const bool isThere = column < g.allColumns;
        const int step = g.tileWidth();
        return [=](int n) { return isThere ? __ldg(from + n * step) : nothing(); };
    }

    __device__ __forceinline__ auto sink(int column) const {
        uint32_t k = column;
        const size_t plane = g.byHalf.split(k);
        const size_t imaginary = static_cast<size_t>(g.height) * g.half;
        T* const to = spectrum + 2 * plane * imaginary + k;
        const bool isThere = column < g.allColumns;
        const int half = g.half;
        const float factor = g.factor;
        return [=](int n, float2 value) {
            if (isThere) {
                T* const at = to + static_cast<size_t>(n) * half;
                store(at, factor * value.x);
                store(at + imaginary, factor * value.y);
            }
        };
    }

    template <class Result>
    __device__ __forceinline__ void finish(int, int, const Result&) const {}
};

// Columns of the spectrum to the workspace.
template <typename T>
struct ColumnsInverse {
    using Layout = ColumnTile;
    static constexpr bool kKeeps = false;
    Geometry g;
    const T* spectrum;
    float2* workspace;

    __host__ __device__ __forceinline__ int total() const { return g.allColumns; }

    __device__ __forceinline__ auto source(int column) const {
        uint32_t k = column;
        const size_t plane = g.byHalf.split(k);
        const size_t imaginary = static_cast<size_t>(g.height) * g.half;
        const T* const from = spectrum + 2 * plane * imaginary + k;
        const bool isThere = column < g.allColumns;
        const int half = g.half;
        return [=](int n) {
            const T* const at = from + static_cast<size_t>(n) * half;
            return isThere ? make_float2(load(at + imaginary), load(at)) : nothing();
        };
    }

    __device__ __forceinline__ auto sink(int column) const {
        float2* const to = workspace + g.place(column, 0);
        const bool isThere = column < g.allColumns;
        const int step = g.tileWidth();
        return [=](int n, float2 value) {
            if (isThere) {
                to[n * step] = swapped(value);
            }
        };
    }

    template <class Result>
    __device__ __forceinline__ void finish(int, int, const Result&) const {}
};

// Rows of the workspace to maps. Two Hermitian lines a and b travel as a + i b and come back as
// the real and imaginary part.
template <typename T>
struct RowsInverse {
    using Layout = RowTile;
    static constexpr bool kKeeps = false;
    Geometry g;
    const float2* workspace;
    T* x;

    __host__ __device__ __forceinline__ int total() const { return g.allPairs; }

    __device__ __forceinline__ auto source(int line) const {
        uint32_t pair = line;
        const int plane = g.byPairs.split(pair);
        const bool isThere = line < g.allPairs;
        const bool hasSecond = isThere && static_cast<int>(2 * pair + 1) < g.height;
        return [=, *this](int n) {
            const bool isMirrored = n >= g.half;
            const int k = isMirrored ? g.width - n : n;
            const float2* const at = workspace + g.place(plane * g.half + k, 2 * pair);
            float2 a = isThere ? __ldg(at) : nothing();
            float2 b = hasSecond ? __ldg(at + g.tileWidth()) : nothing();
            if (k == 0 || 2 * k == g.width) {
                a.y = 0.0f;
                b.y = 0.0f;
            } else if (isMirrored) {
                a.y = -a.y;
                b.y = -b.y;
            }
            return make_float2(a.y + b.x, a.x - b.y);
        };
    }

    __device__ __forceinline__ auto sink(int line) const {
        uint32_t pair = line;
        const size_t plane = g.byPairs.split(pair);
        T* const row = x + (plane * g.height + 2 * pair) * g.width;
        const bool isThere = line < g.allPairs;
        const bool hasSecond = isThere && static_cast<int>(2 * pair + 1) < g.height;
        const int width = g.width;
        const float factor = g.factor;
        return [=](int n, float2 value) {
            if (isThere) {
                store(row + n, factor * value.y);
            }
            if (hasSecond) {
                store(row + width + n, factor * value.x);
            }
        };
    }

    template <class Result>
    __device__ __forceinline__ void finish(int, int, const Result&) const {}
};

}  // namespace differseg
