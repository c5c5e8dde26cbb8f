// Launching: one door to the CUDA runtime, and the index arithmetic that every kernel shares.
#pragma once

#include "differseg_kernels.h"

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <tuple>
#include <utility>

// The dynamic shared memory of a kernel as an array of T, aligned to 16 bytes.
#ifdef __CUDACC__
#define DIFFERSEG_SHARED(T, name)                                        \
    extern __shared__ __align__(16) unsigned char differsegShared[];     \
    T* const name = reinterpret_cast<T*>(differsegShared)
#else
#define DIFFERSEG_SHARED(T, name) \
    T* const name = reinterpret_cast<T*>(emulation::dynamicShared())
#endif

namespace differseg {

// What every device gives a block without being asked; more needs an opt-in per device.
constexpr size_t kSharedBytes = 48 * 1024;

constexpr int64_t kMostBlocks = 0x7fffffff;  // of a grid along x

__host__ __device__ constexpr int64_t ceilDivide(int64_t value, int64_t by) {
    return (value + by - 1) / by;
}

// Division of 0 <= n < 2^31 by a number known at launch: a multiplication and a shift
// (Granlund and Montgomery, "Division by invariant integers using multiplication", 1994).
class Divider {
public:
    Divider() = default;
    explicit Divider(uint32_t divisor) : divisor_(divisor) {
        while (uint64_t{1} << shift_ < divisor) {
            ++shift_;
        }
        const uint64_t excess = (uint64_t{1} << shift_) - divisor;
        magic_ = static_cast<uint32_t>((excess << 32) / divisor + 1);
    }

    __device__ __forceinline__ uint32_t divide(uint32_t n) const {
        return (__umulhi(n, magic_) + n) >> shift_;
    }

    // n / divisor, leaving n % divisor in n.
    __device__ __forceinline__ uint32_t split(uint32_t& n) const {
        const uint32_t quotient = divide(n);
        n -= quotient * divisor_;
        return quotient;
    }

private:
    uint32_t divisor_{1};
    uint32_t magic_{1};
    uint32_t shift_{0};
};

// Launch `kernel` on a grid along x and answer what the runtime answers. A grid of no blocks is
// no work; one beyond the hardware's limit is refused as the runtime refuses a block too large.
template <typename... Parameters, typename... Arguments>
int launch(void (*kernel)(Parameters...), int64_t blocks, int threads, size_t sharedBytes,
           void* stream, Arguments&&... arguments) {
    if (blocks == 0) {
        return cudaSuccess;
    }
    if (blocks > kMostBlocks) {
        return cudaErrorInvalidConfiguration;
    }
    std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
    return std::apply(
        [&](Parameters&... each) {
            void* addresses[] = {&each...};
            return static_cast<int>(cudaLaunchKernel(
                kernel, dim3(static_cast<unsigned int>(blocks)), dim3(threads), addresses,
                sharedBytes, static_cast<cudaStream_t>(stream)));
        },
        values);
}

// Call `work` with a null pointer of the element type that `dtype` names.
template <typename Work>
int withElement(int dtype, Work&& work) {
    switch (dtype) {
        case DIFFERSEG_FP32: return work(static_cast<float*>(nullptr));
        case DIFFERSEG_FP16: return work(static_cast<__half*>(nullptr));
        default: return cudaErrorInvalidValue;
    }
}

}  // namespace differseg
