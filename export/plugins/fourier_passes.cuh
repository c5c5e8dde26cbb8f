// The four passes of the 2-D transforms: what each reads, what it writes, and where.
//
// A pass has `source` and `sink` of one line (see fourier_line.cuh), and `finish`, which is called
// with the transformed lines where `kKeeps` asks for them.  fourier.cu has the strategy.
//
// A block's last lines may lie beyond the last one there is: they are read as that line, so that
// reading needs no questions, and not written.
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

    // Whether a pair of a plane is one: the last row of an odd height stands twice for itself.
    __device__ __forceinline__ bool hasSecond(uint32_t pair) const {
        return static_cast<int>(2 * pair + 1) < height;
    }
};

// Rows of maps to half spectra in the workspace.
struct RowsForward {
    using Layout = RowTile;
    static constexpr bool kKeeps = true;
    Geometry g;
    ElementType type;
    const char* x;
    float2* workspace;

    __host__ __device__ __forceinline__ int total() const { return g.allPairs; }

    __device__ __forceinline__ auto source(int line) const {
        uint32_t pair = min(line, g.allPairs - 1);
        const size_t plane = g.byPairs.split(pair);
        const unsigned int bytes = type.bytes();
        const char* const row = x + (plane * g.height + 2 * pair) * g.width * bytes;
        const char* const second = row + (g.hasSecond(pair) ? size_t{bytes} * g.width : 0);
        return [=, *this](unsigned int n) {
            const size_t at = size_t{n} * bytes;
            return make_float2(type.load(row + at), type.load(second + at));
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
                if (g.hasSecond(pair)) {
                    workspace[at + g.tileWidth()] =
                        make_float2(0.5f * (a.y + b.y), 0.5f * (b.x - a.x));
                }
            }
        }
    }
};

// Columns of the workspace to the spectrum.
struct ColumnsForward {
    using Layout = ColumnTile;
    static constexpr bool kKeeps = false;
    Geometry g;
    ElementType type;
    const float2* workspace;
    char* spectrum;

    __host__ __device__ __forceinline__ int total() const { return g.allColumns; }

    __device__ __forceinline__ auto source(int column) const {
        const float2* const from = workspace + g.place(min(column, g.allColumns - 1), 0);
        const unsigned int step = g.tileWidth();
        return [=](unsigned int n) { return __ldg(from + size_t{n} * step); };
    }

    __device__ __forceinline__ auto sink(int column) const {
        uint32_t k = column;
        const size_t plane = g.byHalf.split(k);
        const unsigned int step = g.half * type.bytes();  // of a row
        const size_t imaginary = size_t{step} * g.height;
        char* const to = spectrum + 2 * plane * imaginary + k * type.bytes();
        const bool isThere = column < g.allColumns;
        return [=, *this](unsigned int n, float2 value) {
            if (isThere) {
                char* const at = to + size_t{n} * step;
                type.store(at, g.factor * value.x);
                type.store(at + imaginary, g.factor * value.y);
            }
        };
    }

    template <class Result>
    __device__ __forceinline__ void finish(int, int, const Result&) const {}
};

// Columns of the spectrum to the workspace.
struct ColumnsInverse {
    using Layout = ColumnTile;
    static constexpr bool kKeeps = false;
    Geometry g;
    ElementType type;
    const char* spectrum;
    float2* workspace;

    __host__ __device__ __forceinline__ int total() const { return g.allColumns; }

    __device__ __forceinline__ auto source(int column) const {
        uint32_t k = min(column, g.allColumns - 1);
        const size_t plane = g.byHalf.split(k);
        const unsigned int step = g.half * type.bytes();  // of a row
        const size_t imaginary = size_t{step} * g.height;
        const char* const from = spectrum + 2 * plane * imaginary + k * type.bytes();
        return [=, *this](unsigned int n) {
            const char* const at = from + size_t{n} * step;
            return make_float2(type.load(at + imaginary), type.load(at));
        };
    }

    __device__ __forceinline__ auto sink(int column) const {
        float2* const to = workspace + g.place(column, 0);
        const bool isThere = column < g.allColumns;
        const unsigned int step = g.tileWidth();
        return [=](unsigned int n, float2 value) {
            if (isThere) {
                to[size_t{n} * step] = swapped(value);
            }
        };
    }

    template <class Result>
    __device__ __forceinline__ void finish(int, int, const Result&) const {}
};

// Rows of the workspace to maps. Two Hermitian lines a and b travel as a + i b and come back as
// the real and imaginary part.
struct RowsInverse {
    using Layout = RowTile;
    static constexpr bool kKeeps = false;
    Geometry g;
    ElementType type;
    const float2* workspace;
    char* x;

    __host__ __device__ __forceinline__ int total() const { return g.allPairs; }

    __device__ __forceinline__ auto source(int line) const {
        uint32_t pair = min(line, g.allPairs - 1);
        const int plane = g.byPairs.split(pair);
        const int second = g.hasSecond(pair) ? g.tileWidth() : 0;
        return [=, *this](int n) {
            const bool isMirrored = n >= g.half;
            const int k = isMirrored ? g.width - n : n;
            const float2* const at = workspace + g.place(plane * g.half + k, 2 * pair);
            float2 a = __ldg(at);
            float2 b = __ldg(at + second);
            const bool isReal = k == 0 || 2 * k == g.width;
            a.y = isReal ? 0.0f : isMirrored ? -a.y : a.y;
            b.y = isReal ? 0.0f : isMirrored ? -b.y : b.y;
            return make_float2(a.y + b.x, a.x - b.y);
        };
    }

    __device__ __forceinline__ auto sink(int line) const {
        uint32_t pair = line;
        const size_t plane = g.byPairs.split(pair);
        const unsigned int bytes = type.bytes();
        char* const row = x + (plane * g.height + 2 * pair) * g.width * bytes;
        char* const second = row + size_t{bytes} * g.width;
        const bool isThere = line < g.allPairs;
        const bool isPair = isThere && g.hasSecond(pair);
        return [=, *this](unsigned int n, float2 value) {
            const size_t at = size_t{n} * bytes;
            if (isThere) {
                type.store(row + at, g.factor * value.y);
            }
            if (isPair) {
                type.store(second + at, g.factor * value.x);
            }
        };
    }

    template <class Result>
    __device__ __forceinline__ void finish(int, int, const Result&) const {}
};

}  // namespace differseg
