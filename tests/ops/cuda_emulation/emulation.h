// Running a grid on the CPU: blocks one after the other, the threads of a block as fibres that
// take turns at the barriers.
//
// Between two barriers the threads run one by one, in ascending order or, on request, descending;
// shared memory starts out as not-a-number patterns that differ between the two. A kernel that
// reads what another thread writes without a barrier in between, or reads shared memory that
// nobody has written, gives different results in the two orders.
#pragma once

#include <cstddef>
#include <functional>

namespace emulation {

constexpr unsigned int kMostThreads = 1024;
constexpr size_t kMostSharedBytes = 48 * 1024;
constexpr int kMultiprocessors = 4;

// False when some threads of a block ended while others waited at a barrier.
bool runGrid(unsigned int blocks, unsigned int threads, size_t sharedBytes,
             const std::function<void()>& thread,
             const std::function<void(unsigned int)>& enterBlock,
             const std::function<void(unsigned int)>& enterThread);

void waitForBlock();

// The block's dynamic shared memory: exactly as large as the launch asked for.
void* dynamicShared();

}  // namespace emulation

// Called by the tests: whether threads and blocks run in descending order from now on.
extern "C" void emulation_descending(int descending);
