// rfft2 and irfft2: a pass along rows and a pass along columns, with the complex half spectrum
// between them in fp32 in the workspace.
//
// Memory. A row pass reads or writes whole rows of the map; two rows make one complex line, so a
// real transform costs half a complex one and every width is treated alike. A column pass takes up
// to 16 neighbouring columns, counted through all planes so that no tile is left nearly empty. The
// workspace lies tile after tile, each (H, 16): a column pass streams through it, a row pass
// touches it in pieces of 16 numbers (128 bytes). Both passes read global memory straight into the
// registers of the first stage, and all but the forward row pass write from those of the last.
//
// Arithmetic. Stockham stages of radix 8, 6, 4, 3, 5, 7 in shared memory; larger primes, and a lone
// factor of two, by direct sums there. Lines of more than 5600 numbers exceed 48 KiB of shared
// memory and go through global buffers in the workspace instead. The norm's factor is applied
// last, in fp32.
#include "differseg_kernels.h"
#include "fourier_passes.cuh"

#include <cmath>

namespace differseg {
namespace {

constexpr int kLongBlocks = 128;   // lines that are transformed at once in global memory
constexpr int kLongThreads = 512;
constexpr int kLongest = 1 << 30;  // so that twice a length is still an int
constexpr int kMostTileWidth = 16;  // columns, see logColumns
constexpr int64_t kMostLines = kMostBlocks - 4096;  // those that fill up a tile are counted too

__device__ __forceinline__ RowTile layoutOf(const Tiling&, int length, RowTile*) {
    return RowTile{paddedLength(length)};
}
__device__ __forceinline__ ColumnTile layoutOf(const Tiling& tiling, int, ColumnTile*) {
    return ColumnTile{tiling.logLines};
}

template <class Pass>
__global__ void __launch_bounds__(kMostThreads, 2)
    transformTiles(Pass pass, Plan plan, Tiling tiling) {
    DIFFERSEG_SHARED(float2, tile);
    using Layout = typename Pass::Layout;
    const Layout layout = layoutOf(tiling, plan.length, static_cast<Layout*>(nullptr));
    const int first = blockIdx.x * tiling.lines;
    transformLines(
        plan, layout, tiling.lines, tile, tile + tiling.stored, Pass::kKeeps,
        [&](int line) { return pass.source(first + line); },
        [&](int line) { return pass.sink(first + line); });
    pass.finish(first, tiling.lines,
                [&](int line, int n) { return tile[layout.at(line, n)]; });
}

template <class Pass>
__global__ void __launch_bounds__(kLongThreads)
    transformLongLines(Pass pass, Plan plan, float2* buffers) {
    float2* const own = buffers + static_cast<size_t>(2) * plan.length * blockIdx.x;
    for (int line = blockIdx.x; line < pass.total(); line += gridDim.x) {
        const float2* const result = transformLongLine(plan, own, pass.source(line));
        if (Pass::kKeeps) {
            pass.finish(line, 1, [&](int, int n) { return result[n]; });
        } else {
            const auto put = pass.sink(line);
            for (int n = threadIdx.x; n < plan.length; n += blockDim.x) {
                put(n, result[n]);
            }
        }
        __syncthreads();  // before the next line overwrites the buffers
    }
}

// The plan of one pass. `tiling` has no threads where the lines are too long for shared memory.
struct Schedule {
    Plan plan;
    Tiling tiling;
};

Schedule scheduleRows(const Geometry& g) {
    const Plan plan = PlanBuilder::build(g.width);
    return Schedule{plan, tileRows(plan, g.allPairs)};
}

Schedule scheduleColumns(const Geometry& g) {
    const Plan plan = PlanBuilder::build(g.height);
    return Schedule{plan, tileColumns(plan, g.allColumns)};
}

template <class Pass>
int runPass(const Pass& pass, const Schedule& schedule, float2* buffers, void* stream) {
    const Tiling& tiling = schedule.tiling;
    const int lines = pass.total();
    if (tiling.threads == 0) {
        const int blocks = lines < kLongBlocks ? lines : kLongBlocks;
        return launch(transformLongLines<Pass>, blocks, kLongThreads, 0, stream, pass,
                      schedule.plan, buffers);
    }
    return launch(transformTiles<Pass>, ceilDivide(lines, tiling.lines), tiling.threads,
                  sharedBytes(tiling, schedule.plan.length), stream, pass, schedule.plan, tiling);
}

bool isTransformable(int dtype, int planes, int height, int width) {
    return (dtype == DIFFERSEG_FP32 || dtype == DIFFERSEG_FP16) && planes >= 0 && height >= 1
           && width >= 1 && height <= kLongest && width <= kLongest
           && int64_t{planes} * (width / 2 + 1) <= kMostLines
           && int64_t{planes} * (height / 2 + 1) <= kMostLines;
}

Geometry geometryOf(int planes, int height, int width) {
    Geometry g{};
    g.height = height;
    g.width = width;
    g.half = width / 2 + 1;
    g.pairs = (height + 1) / 2;
    g.allPairs = planes * g.pairs;
    g.allColumns = planes * g.half;
    g.logColumns = logColumns(height);
    g.byHalf = Divider(g.half);
    g.byPairs = Divider(g.pairs);
    return g;
}

// Numbers of the half spectra with an unfinished tile behind them. Not rounded to whole tiles,
// whose width depends on the height: a workspace for some size also does for all smaller ones.
size_t spectrumNumbers(const Geometry& g) {
    return (static_cast<size_t>(g.allColumns) + kMostTileWidth - 1) * g.height;
}

size_t workspaceBytes(int dtype, int planes, int height, int width) {
    if (!isTransformable(dtype, planes, height, width) || planes == 0) {
        return 0;
    }
    const size_t longest = height > width ? height : width;
    const size_t buffers = longest > kLongestTiled ? 2 * longest * kLongBlocks : 0;
    return sizeof(float2) * (spectrumNumbers(geometryOf(planes, height, width)) + buffers);
}

// `direction` is the norm that puts the factor 1 / (H * W) on this direction.
bool setFactor(int norm, int direction, Geometry& g) {
    const double size = static_cast<double>(g.height) * g.width;
    g.factor = norm == direction        ? static_cast<float>(1.0 / size)
               : norm == DIFFERSEG_ORTHO ? static_cast<float>(1.0 / std::sqrt(size))
                                         : 1.0f;
    return norm == DIFFERSEG_BACKWARD || norm == DIFFERSEG_ORTHO || norm == DIFFERSEG_FORWARD;
}

struct Task {
    Geometry g;
    ElementType type;
    Schedule rows;
    Schedule columns;
    float2* workspace;
    float2* buffers;  // of long lines, behind the spectrum
};

// 0 and the task, or why there is none; without planes 0 and nothing to do.
int prepare(int dtype, const void* in, const void* out, void* workspace, int planes, int height,
            int width, int norm, int direction, Task& task) {
    if (!isTransformable(dtype, planes, height, width)) {
        return cudaErrorInvalidValue;
    }
    task.g = geometryOf(planes, height, width);
    task.type = ElementType{dtype == DIFFERSEG_FP16};
    if (!setFactor(norm, direction, task.g)) {
        return cudaErrorInvalidValue;
    }
    if (planes == 0) {
        return cudaSuccess;
    }
    if (in == nullptr || out == nullptr || workspace == nullptr || !isAligned(workspace, 16)) {
        return cudaErrorInvalidValue;
    }
    task.rows = scheduleRows(task.g);
    task.columns = scheduleColumns(task.g);
    task.workspace = static_cast<float2*>(workspace);
    task.buffers = task.workspace + spectrumNumbers(task.g);
    return cudaSuccess;
}

// One pass, then the other; the second is not launched where the first could not be.
template <class First, class Second>
int runBoth(const Task& task, const First& first, const Schedule& ofFirst, const Second& second,
            const Schedule& ofSecond, void* stream) {
    const int status = runPass(first, ofFirst, task.buffers, stream);
    return status == cudaSuccess ? runPass(second, ofSecond, task.buffers, stream) : status;
}

}  // namespace
}  // namespace differseg

size_t differseg_rfft2_workspace(int dtype, int planes, int height, int width) {
    return differseg::workspaceBytes(dtype, planes, height, width);
}

size_t differseg_irfft2_workspace(int dtype, int planes, int height, int width) {
    return differseg::workspaceBytes(dtype, planes, height, width);
}

int differseg_rfft2(int dtype, const void* x, void* spectrum, void* workspace, int planes,
                    int height, int width, int norm, void* stream) {
    using namespace differseg;
    Task task{};
    const int status = prepare(dtype, x, spectrum, workspace, planes, height, width, norm,
                               DIFFERSEG_FORWARD, task);
    if (status != cudaSuccess || planes == 0) {
        return status;
    }
    const RowsForward rows{task.g, task.type, static_cast<const char*>(x), task.workspace};
    const ColumnsForward columns{task.g, task.type, task.workspace, static_cast<char*>(spectrum)};
    return runBoth(task, rows, task.rows, columns, task.columns, stream);
}

int differseg_irfft2(int dtype, const void* spectrum, void* x, void* workspace, int planes,
                     int height, int width, int norm, void* stream) {
    using namespace differseg;
    Task task{};
    const int status = prepare(dtype, spectrum, x, workspace, planes, height, width, norm,
                               DIFFERSEG_BACKWARD, task);
    if (status != cudaSuccess || planes == 0) {
        return status;
    }
    const ColumnsInverse columns{task.g, task.type, static_cast<const char*>(spectrum),
                                 task.workspace};
    const RowsInverse rows{task.g, task.type, task.workspace, static_cast<char*>(x)};
    return runBoth(task, columns, task.columns, rows, task.rows, stream);
}
