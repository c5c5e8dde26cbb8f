// Elements of tensors: fp32 or fp16 in memory, always float in registers.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace differseg {

__device__ __forceinline__ float load(const float* at) { return __ldg(at); }
__device__ __forceinline__ float load(const __half* at) { return __half2float(__ldg(at)); }

__device__ __forceinline__ void store(float* at, float value) { *at = value; }
__device__ __forceinline__ void store(__half* at, float value) { *at = __float2half_rn(value); }

// Elements whose type is known at run time only, for kernels too large to be compiled twice. Both
// reads are predicated, none is branched around, so that a thread has many under way.
struct ElementType {
    bool isHalf;

    __device__ __forceinline__ unsigned int bytes() const { return isHalf ? 2 : 4; }

    __device__ __forceinline__ float load(const char* at) const {
        unsigned int bits;
        if (isHalf) {
            bits = __ldg(reinterpret_cast<const unsigned short*>(at));
        } else {
            bits = __ldg(reinterpret_cast<const unsigned int*>(at));
        }
        return isHalf ? __half2float(__ushort_as_half(static_cast<unsigned short>(bits)))
                      : __uint_as_float(bits);
    }

    __device__ __forceinline__ void store(char* at, float value) const {
        if (isHalf) {
            *reinterpret_cast<__half*>(at) = __float2half_rn(value);
        } else {
            *reinterpret_cast<float*>(at) = value;
        }
    }
};

// Two neighbours in one access; `at` is aligned to both.
__device__ __forceinline__ float2 loadPair(const float* at) {
    return __ldg(reinterpret_cast<const float2*>(at));
}
__device__ __forceinline__ float2 loadPair(const __half* at) {
    return __half22float2(__ldg(reinterpret_cast<const __half2*>(at)));
}
__device__ __forceinline__ void storePair(float* at, float2 value) {
    *reinterpret_cast<float2*>(at) = value;
}
__device__ __forceinline__ void storePair(__half* at, float2 value) {
    *reinterpret_cast<__half2*>(at) = __floats2half2_rn(value.x, value.y);
}

// `kBytes` (8 or 16) of neighbours in one access; `at` is aligned to them.
template <int kBytes>
struct Word;
template <>
struct Word<8> {
    using Type = uint2;
};
template <>
struct Word<16> {
    using Type = uint4;
};

template <int kBytes, typename T>
__device__ __forceinline__ void loadMany(const T* at, float (&values)[kBytes / sizeof(T)]) {
    union {
        typename Word<kBytes>::Type word;
        unsigned int parts[kBytes / 4];
    } bits;
    bits.word = __ldg(reinterpret_cast<const typename Word<kBytes>::Type*>(at));
#pragma unroll
    for (int i = 0; i < kBytes / 4; ++i) {
        if constexpr (sizeof(T) == 4) {
            values[i] = __uint_as_float(bits.parts[i]);
        } else {
            values[2 * i] = __half2float(__ushort_as_half(bits.parts[i] & 0xffffu));
            values[2 * i + 1] = __half2float(__ushort_as_half(bits.parts[i] >> 16));
        }
    }
}

template <int kBytes, typename T>
__device__ __forceinline__ void storeMany(T* at, const float (&values)[kBytes / sizeof(T)]) {
    union {
        typename Word<kBytes>::Type word;
        unsigned int parts[kBytes / 4];
    } bits;
#pragma unroll
    for (int i = 0; i < kBytes / 4; ++i) {
        if constexpr (sizeof(T) == 4) {
            bits.parts[i] = __float_as_uint(values[i]);
        } else {
            const unsigned int low = __half_as_ushort(__float2half_rn(values[2 * i]));
            const unsigned int high = __half_as_ushort(__float2half_rn(values[2 * i + 1]));
            bits.parts[i] = low | high << 16;
        }
    }
    *reinterpret_cast<typename Word<kBytes>::Type*>(at) = bits.word;
}

inline bool isAligned(const void* pointer, size_t bytes) {
    return reinterpret_cast<size_t>(pointer) % bytes == 0;
}

}  // namespace differseg
