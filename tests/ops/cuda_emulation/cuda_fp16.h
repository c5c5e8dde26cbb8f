// fp16 as CUDA offers it, for the emulation: IEEE half precision, rounded to nearest even.
#pragma once

#include "cuda_runtime.h"

struct __half {
    unsigned short bits;
};
struct alignas(4) __half2 {
    __half x, y;
};

inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }

inline float __half2float(__half value) {
    const unsigned int sign = (value.bits & 0x8000u) << 16;
    const unsigned int exponent = value.bits >> 10 & 0x1fu;
    const unsigned int fraction = value.bits & 0x3ffu;
    if (exponent == 0) {  // zero and denormals: fraction * 2^-24
        const float magnitude = static_cast<float>(fraction) * 5.9604644775390625e-8f;
        return __uint_as_float(sign | __float_as_uint(magnitude));
    }
    const unsigned int wide = exponent == 31 ? 255 : exponent + 112;
    return __uint_as_float(sign | wide << 23 | fraction << 13);
}

inline __half __float2half_rn(float value) {
    const unsigned int bits = __float_as_uint(value);
    const unsigned int sign = bits >> 16 & 0x8000u;
    const unsigned int magnitude = bits & 0x7fffffffu;
    unsigned int result;
    if (magnitude > 0x7f800000u) {
        result = 0x7fffu;  // not a number
    } else if (magnitude >= 0x477ff000u) {
        result = 0x7c00u;  // 65520 and more round to infinity
    } else if (magnitude < 0x38800000u) {  // below 2^-14: counts of 2^-24, rounded by an addition
        const float aligned = __uint_as_float(magnitude) + 0.5f;
        result = __float_as_uint(aligned) - 0x3f000000u;
    } else {
        const unsigned int odd = magnitude >> 13 & 1u;
        result = (magnitude - 0x38000000u + 0xfffu + odd) >> 13;
    }
    return {static_cast<unsigned short>(sign | result)};
}

inline float2 __half22float2(__half2 value) {
    return {__half2float(value.x), __half2float(value.y)};
}
inline __half2 __floats2half2_rn(float x, float y) {
    return {__float2half_rn(x), __float2half_rn(y)};
}
