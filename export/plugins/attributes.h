// The attributes of an ONNX node as a table: one declaration is how a plugin is created from the
// parser's fields, checked, written into an engine and described in the timing cache.
#pragma once

#include "differseg_kernels.h"

#include <NvInferRuntime.h>

#include <cstddef>
#include <cstdint>

namespace differseg {

// A wavelet filter.
struct Taps {
    int32_t count{0};
    float values[DIFFERSEG_MAX_TAPS]{};
};

// One attribute: its ONNX name, where its value lives, and which values are legal.  A word is kept
// as its position in the list of legal words, which is how the kernels number them.
struct Attribute {
    char const* name{nullptr};
    int32_t* number{nullptr};            // of a number and of a word
    Taps* taps{nullptr};                 // of a filter
    char const* const* words{nullptr};   // the legal words, ended by a null pointer
    int32_t lowest{0};                   // legal range of a number
    int32_t highest{0};

    nvinfer1::PluginFieldType type() const noexcept;

    // The field that holds the present value; it points into the plugin.
    nvinfer1::PluginField field() const noexcept;

    // Take the value from the fields; false, with a message, when it is missing or not legal.
    bool read(char const* plugin, nvinfer1::PluginFieldCollection const& fields) const noexcept;

    // Append "name=value" to a text of this capacity; returns the length after it.
    size_t describe(char* text, size_t length, size_t capacity) const noexcept;
};

inline Attribute number(char const* name, int32_t& value, int32_t low, int32_t high) noexcept {
    return {name, &value, nullptr, nullptr, low, high};
}

inline Attribute word(char const* name, int32_t& value, char const* const* words) noexcept {
    return {name, &value, nullptr, words, 0, 0};
}

inline Attribute filter(char const* name, Taps& value) noexcept {
    return {name, nullptr, &value, nullptr, 0, 0};
}

// All attributes of a plugin.
struct Attributes {
    static constexpr int32_t kMost = 6;
    Attribute items[kMost];
    int32_t count;

    template <typename... A>
    explicit Attributes(A... attributes) noexcept
        : items{attributes...}, count{static_cast<int32_t>(sizeof...(attributes))} {}

    Attribute const* begin() const noexcept { return items; }
    Attribute const* end() const noexcept { return items + count; }
};

// The legal words, in the order of the numbers in differseg_kernels.h.
extern char const* const kNorms[];
extern char const* const kModes[];
extern char const* const kBorders[];
extern char const* const kNormalize[];

}  // namespace differseg
