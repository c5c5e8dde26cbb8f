#include "messages.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>

namespace differseg {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> theFinder{nullptr};

// The logger of the builder or context that called the plugin; it depends on the thread.
nvinfer1::ILogger* findLogger() noexcept {
    nvinfer1::ILoggerFinder* const finder = theFinder.load();
    if (finder == nullptr) {
        return nullptr;
    }
    try {
        return finder->findLogger();
    } catch (...) {  // the one method of TensorRT's that is not noexcept
        return nullptr;
    }
}

}  // namespace

void setFinder(nvinfer1::ILoggerFinder* finder) noexcept { theFinder.store(finder); }

bool complain(char const* plugin, char const* format, ...) noexcept {
    char line[512];
    int const used = std::snprintf(line, sizeof line, "differseg: %s: ", plugin);
    if (used >= 0 && used < static_cast<int>(sizeof line)) {
        va_list values;
        va_start(values, format);
        std::vsnprintf(line + used, sizeof line - static_cast<size_t>(used), format, values);
        va_end(values);
    }
    if (nvinfer1::ILogger* const logger = findLogger()) {
        logger->log(nvinfer1::ILogger::Severity::kERROR, line);
    } else {
        std::fprintf(stderr, "%s\n", line);
    }
    return false;
}

}  // namespace differseg
