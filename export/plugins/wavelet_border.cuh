// What both wavelet transforms share: filters as kernel arguments, and PyWavelets' borders.
#pragma once

#include "element.cuh"
#include "launch.cuh"

namespace differseg {

constexpr int kMostTaps = DIFFERSEG_MAX_TAPS;
constexpr int kMostUnrolledTaps = 6;  // longer filters take the tiled kernels

// The filters of a short bank, for loops that are unrolled over the taps.
template <int kTaps>
struct Bank {
    float low[kTaps];
    float high[kTaps];

    Bank(const float* lowpass, const float* highpass) {
        for (int j = 0; j < kTaps; ++j) {
            low[j] = lowpass[j];
            high[j] = highpass[j];
        }
    }
};

// The filters of any bank, two taps of each in one 16-byte constant:
// (low[2q], low[2q + 1], high[2q], high[2q + 1]).
struct PairedBank {
    float4 pair[kMostTaps / 2];

    PairedBank(const float* lowpass, const float* highpass, int taps) {
        for (int q = 0; q < kMostTaps / 2; ++q) {
            pair[q] = 2 * q < taps ? make_float4(lowpass[2 * q], lowpass[2 * q + 1],
                                                 highpass[2 * q], highpass[2 * q + 1])
                                   : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        }
    }
};

constexpr int kNowhere = -1;  // a sample that counts as zero

__device__ __forceinline__ int wrapped(int i, int period) {
    const int rest = i % period;
    return rest < 0 ? rest + period : rest;
}

// Which of n samples stands at place i outside 0 .. n - 1; kNowhere for zeros. Not inlined: few
// threads need it, and its divisions would fill the kernels.
__device__ __noinline__ inline int extendedOutside(int i, int n, int mode) {
    switch (mode) {
        case DIFFERSEG_SYMMETRIC: {
            const int j = wrapped(i, 2 * n);
            return j < n ? j : 2 * n - 1 - j;
        }
        case DIFFERSEG_REFLECT: {
            const int j = wrapped(i, 2 * n - 2);
            return j < n ? j : 2 * n - 2 - j;
        }
        case DIFFERSEG_PERIODIC: return wrapped(i, n);
        case DIFFERSEG_PERIODIZATION: {  // an odd row goes on after its last sample is repeated
            const int j = wrapped(i, n + n % 2);
            return j < n ? j : n - 1;
        }
        default: return kNowhere;
    }
}

// The same for any place.
__device__ __forceinline__ int extended(int i, int n, int mode) {
    return i >= 0 && i < n ? i : extendedOutside(i, n, mode);
}

inline bool isBank(const float* lowpass, int lowTaps, const float* highpass, int highTaps) {
    return lowpass != nullptr && highpass != nullptr && lowTaps == highTaps && lowTaps >= 2
           && lowTaps % 2 == 0 && lowTaps <= kMostTaps;
}

inline bool isMode(int mode) {
    return mode >= DIFFERSEG_ZERO && mode <= DIFFERSEG_PERIODIZATION;
}

// Call `work` with a null pointer to an array of as many numbers as there are taps, 2 to 6.
template <typename Work>
int withTaps(int taps, Work&& work) {
    switch (taps) {
        case 2: return work(static_cast<char(*)[2]>(nullptr));
        case 4: return work(static_cast<char(*)[4]>(nullptr));
        case 6: return work(static_cast<char(*)[6]>(nullptr));
        default: return cudaErrorInvalidValue;
    }
}

}  // namespace differseg
