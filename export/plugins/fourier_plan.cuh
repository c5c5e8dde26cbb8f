// How a line of N numbers is transformed: the stages of a mixed-radix Stockham transform, and how
// many lines a block of how many threads takes on. Decided on the host, carried by value.
#pragma once

#include "launch.cuh"

namespace differseg {

// Numbers of one stage that a thread holds between reading and writing shared memory.
constexpr int kHeldNumbers = 15;
constexpr int kMostThreads = 512;
constexpr int kMostStages = 32;

// Butterflies that a thread holds; radices outside 3..8 hold single outputs instead. A lone factor
// of two, which nothing else takes along, is not worth a butterfly.
__host__ __device__ constexpr int heldButterflies(int radix) {
    return (kHeldNumbers + radix - 1) / radix;
}
__host__ __device__ constexpr bool isUnrolled(int radix) { return radix >= 3 && radix <= 8; }

struct Stage {
    int radix;
    int reach;      // butterflies of a line, and the distance between the inputs of one: N / radix
    int span;       // product of the earlier radices: the distance between the outputs of one
    int turn;       // N / (span * radix): the twiddle's angle in units of 2 pi / N
    Divider byReach;
    Divider bySpan;
};

struct Plan {
    int length;
    Divider byLength;
    int stages;
    Stage stage[kMostStages];
};

class PlanBuilder {
public:
    static Plan build(int length) {
        PlanBuilder builder(length);
        builder.addLargePrimes();
        builder.addSmall();
        if (builder.plan_.stages == 0) {
            builder.add(1);  // a line of one number is copied by the direct sum
        }
        return builder.plan_;
    }

private:
    explicit PlanBuilder(int length) : rest_(length) {
        plan_.length = length;
        plan_.byLength = Divider(length);
    }

    void add(int radix) {
        Stage& stage = plan_.stage[plan_.stages++];
        stage.radix = radix;
        stage.reach = plan_.length / radix;
        stage.span = span_;
        stage.turn = stage.reach / span_;
        stage.byReach = Divider(stage.reach);
        stage.bySpan = Divider(span_);
        span_ *= radix;
    }

    int takeOut(int prime) {
        int power = 0;
        for (; rest_ % prime == 0; rest_ /= prime) {
            ++power;
        }
        return power;
    }

    // Primes above 7 go first: their direct sums read shared memory, which they fill themselves.
    void addLargePrimes() {
        for (int i = 0; i < 4; ++i) {
            powers_[i] = takeOut(kSmallPrimes[i]);
        }
        for (int prime = 11; rest_ > 1; prime += 2) {
            if (static_cast<int64_t>(prime) * prime > rest_) {
                prime = rest_;
            }
            for (int power = takeOut(prime); power > 0; --power) {
                add(prime);
            }
        }
    }

    static int stagesOfTwos(int power) { return (power + 2) / 3; }

    // The fewest stages of 8, 6, 4 and 2 (a six takes a three along, at no stage more), then those
    // of 3, 5 and 7. Even radices first: with the padding of `RowTile` the wide strides of their
    // outputs are free of bank conflicts.
    void addSmall() {
        int twos = powers_[0];
        int threes = powers_[1];
        int sixes = 0;
        for (int s = 1; s <= (twos < threes ? twos : threes); ++s) {
            if (stagesOfTwos(twos - s) < stagesOfTwos(twos - sixes)) {
                sixes = s;
            }
        }
        twos -= sixes;
        threes -= sixes;
        const int fours = twos % 3 == 2 ? 1 : twos % 3 == 1 && twos >= 4 ? 2 : 0;
        const int pairs = twos == 1 ? 1 : 0;
        addMany(8, (twos - 2 * fours - pairs) / 3);
        addMany(6, sixes);
        addMany(4, fours);
        addMany(2, pairs);
        addMany(3, threes);
        addMany(5, powers_[2]);
        addMany(7, powers_[3]);
    }

    void addMany(int radix, int count) {
        for (; count > 0; --count) {
            add(radix);
        }
    }

    static constexpr int kSmallPrimes[4] = {2, 3, 5, 7};

    Plan plan_{};
    int rest_;
    int span_{1};
    int powers_[4]{};
};

// A block's share of the lines.
struct Tiling {
    int lines;       // of one block; a power of two for columns
    int logLines;    // its logarithm, for columns
    int threads;
    int stored;      // numbers of the tile in shared memory, padding included
};

// Roots of unity are kept as products: exp(-2 pi i k / N) for k < 64 and for multiples of 64.
constexpr int kLogFineRoots = 6;
constexpr int kFineRoots = 1 << kLogFineRoots;
__host__ __device__ constexpr int storedRoots(int length) {
    return kFineRoots + (length - 1) / kFineRoots + 1;
}

inline size_t sharedBytes(const Tiling& tiling, int length) {
    return sizeof(float2) * (tiling.stored + storedRoots(length));
}

// Numbers that a row of a tile occupies: one place in seventeen stays empty (see RowTile).
__host__ __device__ constexpr int paddedIndex(int index) { return index + index / 16; }
__host__ __device__ constexpr int paddedLength(int length) { return paddedIndex(length - 1) + 1; }

// Steps of the busiest thread over all stages, in numbers; -1 where a thread cannot hold its part.
inline int busiest(const Plan& plan, int lines, int threads) {
    int steps = 0;
    for (int s = 0; s < plan.stages; ++s) {
        const int radix = plan.stage[s].radix;
        const int work = lines * (isUnrolled(radix) ? plan.stage[s].reach : plan.length);
        const int rounds = static_cast<int>(ceilDivide(work, threads));
        if (rounds > (isUnrolled(radix) ? heldButterflies(radix) : kHeldNumbers)) {
            return -1;
        }
        steps += rounds * (isUnrolled(radix) ? radix : 1);
    }
    return steps;
}

// Blocks beyond which a device is busy enough for threads to be spared.
constexpr int64_t kManyBlocks = 1024;

// Threads of a block: with few blocks as few, up to 256, as end soonest; with many the most, up to
// 256, of which about a quarter at most stands idle beyond what any number of threads must. More
// than 256 where these cannot hold the tile.
inline int chooseThreads(const Plan& plan, int lines, int64_t blocks) {
    int best = 0;
    int64_t least = 0;
    for (int threads = kMostThreads; threads >= 32; threads -= 32) {
        const int steps = busiest(plan, lines, threads);
        const int64_t spent = blocks < kManyBlocks ? steps : int64_t{steps} * threads;
        const int64_t slack = blocks < kManyBlocks ? 4 : 5;
        if (steps >= 0 && (best == 0 || best > 256 || 4 * least >= slack * spent)) {
            best = threads;
            least = spent;
        }
    }
    return best;
}

// Lines up to this length fit into shared memory with their padding and roots, one a block.
constexpr int kLongestTiled = 5600;
static_assert(sizeof(float2) * (paddedLength(kLongestTiled) + storedRoots(kLongestTiled))
                  <= kSharedBytes,
              "a line of a tile fits");

// The logarithm of the columns of a tile, which also sets the workspace's layout: the most of 16
// whose numbers a block holds in shared memory.
inline int logColumns(int height) {
    for (int log = 4; log > 0; --log) {
        // Narrow tiles waste memory transactions, so they may fill shared memory; wide ones leave
        // room for a second block on the multiprocessor.
        if (static_cast<int64_t>(height) << log <= (log >= 3 ? 4096 : kLongestTiled)) {
            return log;
        }
    }
    return 0;
}

// Columns and rows to a block. No threads: the lines are too long for tiles.
inline Tiling tileColumns(const Plan& plan, int64_t columns) {
    Tiling tiling{};
    if (plan.length <= kLongestTiled) {
        tiling.logLines = logColumns(plan.length);
        tiling.lines = 1 << tiling.logLines;
        tiling.threads =
            chooseThreads(plan, tiling.lines, ceilDivide(columns, tiling.lines));
        tiling.stored = plan.length << tiling.logLines;
    }
    return tiling;
}

// Rows: about 2048 numbers, so that several blocks share a multiprocessor, and at most what keeps
// every multiprocessor busy; among these the number that leaves fewest threads idle.
inline Tiling tileRows(const Plan& plan, int64_t lines) {
    constexpr int64_t kBusyBlocks = 256;
    constexpr int kFairNumbers = 2048;
    constexpr int kCandidates = 16;
    Tiling best{};
    if (plan.length > kLongestTiled) {
        return best;
    }
    const int64_t fair = ceilDivide(lines, kBusyBlocks);
    const int64_t room = kFairNumbers / plan.length;
    const int64_t most = fair < room ? fair : room;
    const int step = most > kCandidates ? static_cast<int>(ceilDivide(most, kCandidates)) : 1;
    double least = 0;
    for (int count = step; count == step || count <= most; count += step) {
        const int threads = chooseThreads(plan, count, ceilDivide(lines, count));
        const double spent = static_cast<double>(busiest(plan, count, threads)) * threads / count;
        if (best.threads == 0 || spent <= least) {
            best = Tiling{count, 0, threads, count * paddedLength(plan.length)};
            least = spent;
        }
    }
    return best;
}

}  // namespace differseg
