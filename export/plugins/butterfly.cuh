// Discrete Fourier transforms of 2 to 8 numbers held in registers, exp(-2 pi i n k / R), in place.
#pragma once

#include <cuda_runtime.h>

namespace differseg {

__device__ __forceinline__ float2 add(float2 a, float2 b) {
    return make_float2(a.x + b.x, a.y + b.y);
}
__device__ __forceinline__ float2 subtract(float2 a, float2 b) {
    return make_float2(a.x - b.x, a.y - b.y);
}
__device__ __forceinline__ float2 multiply(float2 a, float2 b) {
    return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}
__device__ __forceinline__ float2 swapped(float2 a) { return make_float2(a.y, a.x); }

// cos and sin of 2 pi k / R for the odd radices, k = 0 .. R / 2.
template <int R>
struct Roots;
template <>
struct Roots<3> {
    static __device__ __forceinline__ constexpr float cosine(int k) {
        return k == 0 ? 1.0f : -0.5f;
    }
    static __device__ __forceinline__ constexpr float sine(int k) {
        return k == 0 ? 0.0f : 0.8660254037844387f;
    }
};
template <>
struct Roots<5> {
    static __device__ __forceinline__ constexpr float cosine(int k) {
        return k == 0 ? 1.0f : k == 1 ? 0.30901699437494745f : -0.8090169943749475f;
    }
    static __device__ __forceinline__ constexpr float sine(int k) {
        return k == 0 ? 0.0f : k == 1 ? 0.9510565162951535f : 0.5877852522924731f;
    }
};
template <>
struct Roots<7> {
    static __device__ __forceinline__ constexpr float cosine(int k) {
        return k == 0   ? 1.0f
               : k == 1 ? 0.6234898018587336f
               : k == 2 ? -0.2225209339563144f
                        : -0.9009688679024191f;
    }
    static __device__ __forceinline__ constexpr float sine(int k) {
        return k == 0   ? 0.0f
               : k == 1 ? 0.7818314824680298f
               : k == 2 ? 0.9749279121818236f
                        : 0.4338837391175582f;
    }
};

// a * exp(-2 pi i K / R) for an even radix.
template <int R, int K>
__device__ __forceinline__ float2 rotated(float2 a) {
    constexpr float kRootHalf = 0.7071067811865476f;
    if constexpr (K == 0) {
        return a;
    } else if constexpr (4 * K == R) {
        return make_float2(a.y, -a.x);
    } else if constexpr (8 * K == R) {
        return make_float2(kRootHalf * (a.x + a.y), kRootHalf * (a.y - a.x));
    } else if constexpr (8 * K == 3 * R) {
        return make_float2(kRootHalf * (a.y - a.x), -kRootHalf * (a.x + a.y));
    } else {
        static_assert(R == 6 && (K == 1 || K == 2), "the one other even radix");
        constexpr float kCosine = K == 1 ? 0.5f : -0.5f;
        return multiply(a, make_float2(kCosine, -0.8660254037844387f));
    }
}

template <int R>
__device__ __forceinline__ void transform(float2 (&v)[R]);

template <int R, int K>
__device__ __forceinline__ void combine(float2 (&v)[R], const float2 (&even)[R / 2],
                                        const float2 (&odd)[R / 2]) {
    if constexpr (K < R / 2) {
        const float2 turned = rotated<R, K>(odd[K]);
        v[K] = add(even[K], turned);
        v[K + R / 2] = subtract(even[K], turned);
        combine<R, K + 1>(v, even, odd);
    }
}

template <int R>
__device__ __forceinline__ void transformEven(float2 (&v)[R]) {
    float2 even[R / 2];
    float2 odd[R / 2];
#pragma unroll
    for (int i = 0; i < R / 2; ++i) {
        even[i] = v[2 * i];
        odd[i] = v[2 * i + 1];
    }
    transform<R / 2>(even);
    transform<R / 2>(odd);
    combine<R, 0>(v, even, odd);
}

// Inputs q and R - q meet outputs k and R - k with the same cosine and opposite sines.
template <int R>
__device__ __forceinline__ void transformOdd(float2 (&v)[R]) {
    constexpr int kHalf = R / 2;
    float2 sum[kHalf];
    float2 difference[kHalf];
    const float2 first = v[0];
#pragma unroll
    for (int q = 1; q <= kHalf; ++q) {
        sum[q - 1] = add(v[q], v[R - q]);
        difference[q - 1] = subtract(v[q], v[R - q]);
        v[0] = add(v[0], sum[q - 1]);
    }
#pragma unroll
    for (int k = 1; k <= kHalf; ++k) {
        float2 even = first;
        float2 odd = make_float2(0.0f, 0.0f);
#pragma unroll
        for (int q = 1; q <= kHalf; ++q) {
            const int turn = k * q % R;
            const bool back = turn > kHalf;
            const float cosine = Roots<R>::cosine(back ? R - turn : turn);
            const float sine = (back ? -1.0f : 1.0f) * Roots<R>::sine(back ? R - turn : turn);
            even.x += cosine * sum[q - 1].x;
            even.y += cosine * sum[q - 1].y;
            odd.x += sine * difference[q - 1].x;
            odd.y += sine * difference[q - 1].y;
        }
        v[k] = make_float2(even.x + odd.y, even.y - odd.x);
        v[R - k] = make_float2(even.x - odd.y, even.y + odd.x);
    }
}

template <int R>
__device__ __forceinline__ void transform(float2 (&v)[R]) {
    if constexpr (R == 1) {
        return;
    } else if constexpr (R % 2 == 0) {
        transformEven<R>(v);
    } else {
        transformOdd<R>(v);
    }
}

}  // namespace differseg
