// Bounds of the windows over which reassembly and local similarity look.
#pragma once

#include "messages.h"

#include <cstdint>

namespace differseg {

constexpr int32_t kWidestWindow = 9;   // pixels, odd
constexpr int32_t kMostDilation = 64;  // pixels

inline bool isOdd(char const* plugin, int32_t kernel) noexcept {
    return kernel % 2 == 1
           || complain(plugin, "attribute kernel_size is %d, expected an odd number; write the "
               "file again with 'differseg export --ops plugin'", kernel);
}

}  // namespace differseg
