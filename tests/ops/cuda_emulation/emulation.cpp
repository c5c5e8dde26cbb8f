#include "emulation.h"

#include <ucontext.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulation {
namespace {

constexpr size_t kStackBytes = 256 * 1024;

struct Fibre {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[kStackBytes]};
    bool isDone{true};
};

// Told to the address sanitizer, which otherwise takes a change of stacks for an overflow.
void announceSwitch(void** save, const void* bottom, size_t size) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(save, bottom, size);
#else
    (void)save, (void)bottom, (void)size;
#endif
}
void confirmSwitch(void* save, const void** bottom, size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(save, bottom, size);
#else
    (void)save, (void)bottom, (void)size;
#endif
}

struct Scheduler {
    ucontext_t context;
    const void* stackBottom{nullptr};
    size_t stackBytes{0};
    std::vector<std::unique_ptr<Fibre>> fibres;
    Fibre* running{nullptr};
    const std::function<void()>* thread{nullptr};
    std::unique_ptr<char[]> shared;
    bool isDescending{false};
};
Scheduler scheduler;

void yieldToScheduler() {
    Fibre* const self = scheduler.running;
    void* save = nullptr;
    announceSwitch(&save, scheduler.stackBottom, scheduler.stackBytes);
    swapcontext(&self->context, &scheduler.context);
    confirmSwitch(save, &scheduler.stackBottom, &scheduler.stackBytes);
}

// A fibre never ends: after one thread it waits to become the next.
void liveAsFibre() {
    confirmSwitch(nullptr, &scheduler.stackBottom, &scheduler.stackBytes);
    for (;;) {
        (*scheduler.thread)();
        scheduler.running->isDone = true;
        yieldToScheduler();
    }
}

void resume(Fibre& fibre) {
    scheduler.running = &fibre;
    void* save = nullptr;
    announceSwitch(&save, fibre.stack.get(), kStackBytes);
    swapcontext(&scheduler.context, &fibre.context);
    confirmSwitch(save, nullptr, nullptr);
}

void growTo(unsigned int threads) {
    while (scheduler.fibres.size() < threads) {
        scheduler.fibres.push_back(std::make_unique<Fibre>());
        ucontext_t& context = scheduler.fibres.back()->context;
        getcontext(&context);
        context.uc_stack.ss_sp = scheduler.fibres.back()->stack.get();
        context.uc_stack.ss_size = kStackBytes;
        context.uc_link = nullptr;
        makecontext(&context, liveAsFibre, 0);
    }
}

// Let every thread of a block run to its end; false when they part ways at a barrier.
bool runBlock(unsigned int threads, const std::function<void(unsigned int)>& enterThread) {
    for (unsigned int t = 0; t < threads; ++t) {
        scheduler.fibres[t]->isDone = false;
    }
    for (;;) {
        unsigned int done = 0;
        for (unsigned int i = 0; i < threads; ++i) {
            const unsigned int t = scheduler.isDescending ? threads - 1 - i : i;
            enterThread(t);
            resume(*scheduler.fibres[t]);
            done += scheduler.fibres[t]->isDone;
        }
        if (done == threads) {
            return true;
        }
        if (done > 0) {
            scheduler.fibres.clear();  // those that still wait cannot be used again
            return false;
        }
    }
}

}  // namespace

bool runGrid(unsigned int blocks, unsigned int threads, size_t sharedBytes,
             const std::function<void()>& thread,
             const std::function<void(unsigned int)>& enterBlock,
             const std::function<void(unsigned int)>& enterThread) {
    growTo(threads);
    scheduler.thread = &thread;
    for (unsigned int i = 0; i < blocks; ++i) {
        scheduler.shared.reset(new char[sharedBytes]);
        std::memset(scheduler.shared.get(), scheduler.isDescending ? 0xff : 0x7f, sharedBytes);
        enterBlock(scheduler.isDescending ? blocks - 1 - i : i);
        if (!runBlock(threads, enterThread)) {
            return false;
        }
    }
    scheduler.shared.reset();
    return true;
}

void waitForBlock() { yieldToScheduler(); }

void* dynamicShared() { return scheduler.shared.get(); }

}  // namespace emulation

void emulation_descending(int descending) {
    emulation::scheduler.isDescending = descending != 0;
}
