// What a plugin says when it cannot go on: one line through TensorRT's logger.
#pragma once

#include <NvInferRuntime.h>

namespace differseg {

// Where TensorRT hands over the way to its logger, once, when it loads the library.
void setFinder(nvinfer1::ILoggerFinder* finder) noexcept;

// Log one line as an error, "differseg: PLUGIN: ...", on standard error where there is no logger.
// Always false, so that a check can end with it.
bool complain(char const* plugin, char const* format, ...) noexcept
    __attribute__((format(printf, 2, 3)));

}  // namespace differseg
