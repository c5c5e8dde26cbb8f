// What TensorRT's headers and the plugins take from CUDA, for a C++17 compiler on the CPU.
#pragma once

#include "cuda_runtime.h"
#undef __noinline__  // the C++ library has an attribute of this name

using cudaEvent_t = struct CUevent_st*;

inline char const* cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaErrorInvalidValue: return "invalid argument";
        case cudaErrorInvalidConfiguration: return "invalid configuration argument";
        case cudaErrorNoKernelImageForDevice: return "no kernel image is available";
        default: return "another error";
    }
}
