// The part of CUDA that differseg's kernels use, for a C++17 compiler on the CPU: the sources in
// export/plugins compile unchanged and run one block after the other, its threads as fibres.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "emulation.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorLaunchFailure = 719
};
using cudaStream_t = struct CUstream_st*;

enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16 };

inline cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
    *value = emulation::kMultiprocessors;
    return cudaSuccess;
}

struct dim3 {
    unsigned int x, y, z;
    dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned int x, y;
};
struct alignas(16) uint4 {
    unsigned int x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// Only the x axis is used, of grids and of blocks.
struct Index {
    unsigned int x;
};
inline Index threadIdx, blockIdx, blockDim, gridDim;

inline void __syncthreads() { emulation::waitForBlock(); }

template <typename T>
T __ldg(const T* at) {
    return *at;
}
inline unsigned int __umulhi(unsigned int a, unsigned int b) {
    return static_cast<unsigned int>((uint64_t{a} * b) >> 32);
}
inline float __uint_as_float(unsigned int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
inline unsigned int __float_as_uint(float value) {
    unsigned int bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
inline void sincospif(float value, float* sine, float* cosine) {
    const double angle = 3.14159265358979323846 * value;
    *sine = static_cast<float>(std::sin(angle));
    *cosine = static_cast<float>(std::cos(angle));
}
using std::min;
using std::max;

template <typename... Parameters, size_t... kIndex>
void callKernel(void (*kernel)(Parameters...), void** arguments, std::index_sequence<kIndex...>) {
    // Every thread has its own copy of the arguments, as on the device.
    kernel(Parameters(*static_cast<std::remove_reference_t<Parameters>*>(arguments[kIndex]))...);
}

template <typename... Parameters>
cudaError_t cudaLaunchKernel(void (*kernel)(Parameters...), dim3 grid, dim3 block,
                             void** arguments, size_t sharedBytes, cudaStream_t) {
    if (sharedBytes > emulation::kMostSharedBytes) {
        return cudaErrorInvalidValue;
    }
    if (grid.x == 0 || block.x == 0 || block.x > emulation::kMostThreads || grid.y != 1
        || grid.z != 1 || block.y != 1 || block.z != 1) {
        return cudaErrorInvalidConfiguration;
    }
    blockDim.x = block.x;
    gridDim.x = grid.x;
    const auto thread = [&] {
        callKernel(kernel, arguments, std::index_sequence_for<Parameters...>());
    };
    const bool isDone = emulation::runGrid(grid.x, block.x, sharedBytes, thread,
                                           [](unsigned int index) { blockIdx.x = index; },
                                           [](unsigned int index) { threadIdx.x = index; });
    return isDone ? cudaSuccess : cudaErrorLaunchFailure;
}
