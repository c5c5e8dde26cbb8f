// Fourier transforms of a block's lines, forward; the callers' sources and sinks swap real and
// imaginary parts where the inverse is wanted.
//
// A source is called as source(line)(n) and answers number n of a line; a sink as
// sink(line)(n, value). Lines count within the block.
#pragma once

#include "butterfly.cuh"
#include "fourier_plan.cuh"

namespace differseg {

// exp(-2 pi i k / N) for 0 <= k < N. The angle is brought into an eighth of the circle in integers,
// so that its rounding is that of a small number.
__device__ inline float2 rootOfUnity(int k, int length) {
    const bool lower = 2 * static_cast<int64_t>(k) > length;
    int64_t eighths = 8 * static_cast<int64_t>(lower ? length - k : k);  // in 1/8 turns times N
    const bool left = eighths > 2 * static_cast<int64_t>(length);
    eighths = left ? 4 * static_cast<int64_t>(length) - eighths : eighths;
    const bool steep = eighths > length;
    eighths = steep ? 2 * static_cast<int64_t>(length) - eighths : eighths;
    float sine;
    float cosine;
    sincospif(static_cast<float>(eighths) / (4.0f * static_cast<float>(length)), &sine, &cosine);
    const float x = steep ? sine : cosine;
    const float y = steep ? cosine : sine;
    return make_float2(left ? -x : x, lower ? y : -y);
}

// Rows lie one after the other, with one empty place in seventeen: the butterflies' strides of
// powers of two then fall on different banks.
struct RowTile {
    int pitch;

    __device__ __forceinline__ int at(int line, int n) const {
        return line * pitch + paddedIndex(n);
    }
    __device__ __forceinline__ void locate(const Divider& byCount, int job, int& line,
                                           int& index) const {
        uint32_t rest = job;
        line = byCount.split(rest);
        index = rest;
    }
};

// Columns lie side by side, as in memory: neighbouring threads work on neighbouring columns, and
// no stride along a column matters.
struct ColumnTile {
    int logLines;

    __device__ __forceinline__ int at(int line, int n) const { return (n << logLines) + line; }
    __device__ __forceinline__ void locate(const Divider&, int job, int& line,
                                           int& index) const {
        line = job & ((1 << logLines) - 1);
        index = job >> logLines;
    }
};

// `locate` in both: which line, and which of its `count` numbers or butterflies, a job is.

// What the stages of one block share.
template <class Layout>
struct Workbench {
    const Plan& plan;
    Layout layout;
    int lines;
    float2* tile;
    float2* roots;  // see storedRoots

    __device__ __forceinline__ float2 root(int k) const {
        return multiply(roots[k & (kFineRoots - 1)], roots[kFineRoots + (k >> kLogFineRoots)]);
    }

    __device__ __forceinline__ void fillRoots() const {
        for (int i = threadIdx.x; i < storedRoots(plan.length); i += blockDim.x) {
            const int k = i < kFineRoots ? i : (i - kFineRoots) << kLogFineRoots;
            roots[i] = rootOfUnity(k % plan.length, plan.length);
        }
    }
};

// One stage of radix R: every thread reads its butterflies' inputs, all wait, then every thread
// writes the outputs, so one tile serves as input and output. The first stage reads the source
// directly; the last writes the sink directly unless `keeps` says that the tile is wanted.
template <int R, class Layout, class Source, class Sink>
__device__ __forceinline__ void runStage(const Workbench<Layout>& bench, int index, bool keeps,
                                         const Source& source, const Sink& sink) {
    constexpr int kHeld = heldButterflies(R);
    const Stage& stage = bench.plan.stage[index];
    const bool last = index == bench.plan.stages - 1;
    const int jobs = bench.lines * stage.reach;
    float2 v[kHeld][R];
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
        const int job = threadIdx.x + i * blockDim.x;
        if (job < jobs) {
            int line, b;
            bench.layout.locate(stage.byReach, job, line, b);
            if (index == 0) {
                const auto numbers = source(line);
#pragma unroll
                for (int r = 0; r < R; ++r) {
                    v[i][r] = numbers(b + r * stage.reach);
                }
            } else {
                uint32_t k = b;
                stage.bySpan.split(k);
                const float2 step = bench.root(k * stage.turn);
                float2 twiddle = step;
                v[i][0] = bench.tile[bench.layout.at(line, b)];
#pragma unroll
                for (int r = 1; r < R; ++r) {
                    v[i][r] = multiply(
                        bench.tile[bench.layout.at(line, b + r * stage.reach)], twiddle);
                    twiddle = multiply(twiddle, step);
                }
            }
            transform<R>(v[i]);
        } else {
            // Unset registers would count as live from stage to stage, and all of them spill.
#pragma unroll
            for (int r = 0; r < R; ++r) {
                v[i][r] = make_float2(0.0f, 0.0f);
            }
        }
    }
    __syncthreads();  // the tile has been read
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
        const int job = threadIdx.x + i * blockDim.x;
        if (job < jobs) {
            int line, b;
            bench.layout.locate(stage.byReach, job, line, b);
            uint32_t k = b;
            const int start = stage.bySpan.split(k) * stage.span * R + k;
            if (last && !keeps) {
                const auto put = sink(line);
#pragma unroll
                for (int r = 0; r < R; ++r) {
                    put(start + r * stage.span, v[i][r]);
                }
            } else {
#pragma unroll
                for (int r = 0; r < R; ++r) {
                    bench.tile[bench.layout.at(line, start + r * stage.span)] = v[i][r];
                }
            }
        }
    }
    __syncthreads();
}

// Output `o` of a line after a stage of any radix, by the direct sum over numbers(n): as many
// multiplications a number as the radix, which makes a line of prime length N cost N * N.
template <class Root, class Numbers>
__device__ __forceinline__ float2 directSum(const Stage& stage, int length, int o,
                                            const Root& root, const Numbers& numbers) {
    uint32_t k = o;
    const int t = stage.bySpan.split(k);
    const int b = t / stage.radix * stage.span + k;
    const int step = k * stage.turn + t % stage.radix * stage.reach;  // angle, 2 pi / N; < N
    float2 sum = make_float2(0.0f, 0.0f);
    int angle = 0;
    for (int i = 0; i < stage.radix; ++i) {
        sum = add(sum, multiply(numbers(b + i * stage.reach), root(angle)));
        angle += step;
        angle -= angle >= length ? length : 0;
    }
    return sum;
}

template <class Layout, class Source, class Sink>
__device__ __forceinline__ void runDirectStage(const Workbench<Layout>& bench, int index,
                                               bool keeps, const Source& source,
                                               const Sink& sink) {
    const Stage& stage = bench.plan.stage[index];
    const int length = bench.plan.length;
    const int jobs = bench.lines * length;
    const auto locate = [&](int job, int& line, int& o) {
        bench.layout.locate(bench.plan.byLength, job, line, o);
    };
    int line, o;
    if (index == 0) {
        for (int job = threadIdx.x; job < jobs; job += blockDim.x) {
            locate(job, line, o);
            bench.tile[bench.layout.at(line, o)] = source(line)(o);
        }
        __syncthreads();
    }
    const auto root = [&](int k) { return bench.root(k); };
    float2 held[kHeldNumbers];
    int count = 0;
    for (int job = threadIdx.x; job < jobs; job += blockDim.x) {
        locate(job, line, o);
        const auto numbers = [&](int n) { return bench.tile[bench.layout.at(line, n)]; };
        held[count++] = directSum(stage, length, o, root, numbers);
    }
    __syncthreads();  // the tile has been read
    const bool leaves = index == bench.plan.stages - 1 && !keeps;
    count = 0;
    for (int job = threadIdx.x; job < jobs; job += blockDim.x) {
        locate(job, line, o);
        if (leaves) {
            sink(line)(o, held[count++]);
        } else {
            bench.tile[bench.layout.at(line, o)] = held[count++];
        }
    }
    __syncthreads();
}

// Transform all lines of the block; the result goes to the sink or, where it `keeps`, stays in the
// tile. Behind the tile, `roots` has room for what `storedRoots` says.
template <class Layout, class Source, class Sink>
__device__ __forceinline__ void transformLines(const Plan& plan, Layout layout, int lines,
                                               float2* tile, float2* roots, bool keeps,
                                               const Source& source, const Sink& sink) {
    const Workbench<Layout> bench{plan, layout, lines, tile, roots};
    bench.fillRoots();  // which are first used behind a barrier of the first stage
    for (int s = 0; s < plan.stages; ++s) {
        switch (plan.stage[s].radix) {
            case 3: runStage<3>(bench, s, keeps, source, sink); break;
            case 4: runStage<4>(bench, s, keeps, source, sink); break;
            case 5: runStage<5>(bench, s, keeps, source, sink); break;
            case 6: runStage<6>(bench, s, keeps, source, sink); break;
            case 7: runStage<7>(bench, s, keeps, source, sink); break;
            case 8: runStage<8>(bench, s, keeps, source, sink); break;
            default: runDirectStage(bench, s, keeps, source, sink);
        }
    }
}

// The same for one line too long for shared memory, which goes to and fro between two buffers of N
// numbers in global memory; answers where the result lies. Every stage is a direct sum with
// computed twiddles: this way is there to be right, not fast.
template <class Numbers>
__device__ inline const float2* transformLongLine(const Plan& plan, float2* buffers,
                                                  const Numbers& numbers) {
    const int length = plan.length;
    float2* from = buffers;
    float2* to = buffers + length;
    for (int n = threadIdx.x; n < length; n += blockDim.x) {
        from[n] = numbers(n);
    }
    __syncthreads();
    const auto root = [&](int k) { return rootOfUnity(k, length); };
    for (int s = 0; s < plan.stages; ++s) {
        const auto read = [&](int n) { return from[n]; };
        for (int o = threadIdx.x; o < length; o += blockDim.x) {
            to[o] = directSum(plan.stage[s], length, o, root, read);
        }
        __syncthreads();
        float2* const done = to;
        to = from;
        from = done;
    }
    return from;
}

}  // namespace differseg
