#include "attributes.h"

#include "messages.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace differseg {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;

char const* const kNorms[] = {"backward", "ortho", "forward", nullptr};
char const* const kModes[] = {"zero", "symmetric", "reflect", "periodic", "periodization", nullptr};
char const* const kBorders[] = {"zeros", "edge", nullptr};
char const* const kNormalize[] = {"none", "softmax", "hamming", nullptr};

namespace {

constexpr char kAgain[] = "write the file again with 'differseg export --ops plugin'";

PluginField const* find(PluginFieldCollection const& fields, char const* name) noexcept {
    for (int32_t i = 0; i < fields.nbFields; ++i) {
        if (fields.fields[i].name != nullptr && std::strcmp(fields.fields[i].name, name) == 0) {
            return fields.fields + i;
        }
    }
    return nullptr;
}

char const* kindOf(PluginFieldType type) noexcept {
    switch (type) {
        case PluginFieldType::kINT32: return "an INT";
        case PluginFieldType::kCHAR: return "a STRING";
        case PluginFieldType::kFLOAT32: return "FLOATS";
        default: return "another type";
    }
}

bool readWord(char const* plugin, Attribute const& a, PluginField const& field) noexcept {
    // The parser's text has a length and no final zero; other writers count the zero as well.
    auto const* text = static_cast<char const*>(field.data);
    size_t const length = strnlen(text, static_cast<size_t>(field.length));
    for (int32_t i = 0; a.words[i] != nullptr; ++i) {
        if (std::strlen(a.words[i]) == length && std::strncmp(a.words[i], text, length) == 0) {
            *a.number = i;
            return true;
        }
    }
    char known[128] = "";
    for (size_t i = 0, used = 0; a.words[i] != nullptr && used < sizeof known; ++i) {
        int const more = std::snprintf(
            known + used, sizeof known - used, i == 0 ? "%s" : ", %s", a.words[i]);
        used += static_cast<size_t>(std::max(more, 0));
    }
    int const shown = static_cast<int>(std::min<size_t>(length, 64));
    return complain(plugin, "attribute %s is '%.*s', expected one of %s; %s", a.name, shown, text,
        known, kAgain);
}

bool readFilter(char const* plugin, Attribute const& a, PluginField const& field) noexcept {
    if (field.length < 2 || field.length > DIFFERSEG_MAX_TAPS) {
        return complain(plugin, "attribute %s has %d taps, expected 2 to %d; export with "
            "--ops portable", a.name, field.length, DIFFERSEG_MAX_TAPS);
    }
    std::memcpy(a.taps->values, field.data, sizeof(float) * static_cast<size_t>(field.length));
    a.taps->count = field.length;
    auto const finite = [](float value) { return std::isfinite(value); };
    if (!std::all_of(a.taps->values, a.taps->values + a.taps->count, finite)) {
        return complain(plugin, "attribute %s has a tap that is no finite number; %s", a.name,
            kAgain);
    }
    return true;
}

bool readNumber(char const* plugin, Attribute const& a, PluginField const& field) noexcept {
    if (field.length != 1) {
        return complain(plugin, "attribute %s holds %d numbers, expected one; %s", a.name,
            field.length, kAgain);
    }
    std::memcpy(a.number, field.data, sizeof *a.number);
    if (*a.number < a.lowest || *a.number > a.highest) {
        return complain(plugin, "attribute %s is %d, expected %d to %d; %s", a.name, *a.number,
            a.lowest, a.highest, kAgain);
    }
    return true;
}

}  // namespace

PluginFieldType Attribute::type() const noexcept {
    return taps != nullptr    ? PluginFieldType::kFLOAT32
           : words != nullptr ? PluginFieldType::kCHAR
                              : PluginFieldType::kINT32;
}

PluginField Attribute::field() const noexcept {
    if (taps != nullptr) {
        return {name, taps->values, type(), taps->count};
    }
    if (words != nullptr) {
        char const* const text = words[*number];
        return {name, text, type(), static_cast<int32_t>(std::strlen(text))};
    }
    return {name, number, type(), 1};
}

bool Attribute::read(char const* plugin, PluginFieldCollection const& fields) const noexcept {
    PluginField const* const field = find(fields, name);
    if (field == nullptr) {
        return complain(plugin, "attribute %s is missing; %s", name, kAgain);
    }
    if (field->type != type()) {
        return complain(plugin, "attribute %s is %s, expected %s; %s", name, kindOf(field->type),
            kindOf(type()), kAgain);
    }
    // A parser leaves no data where it cannot convert an attribute.
    if (field->data == nullptr || field->length < 0) {
        return complain(plugin, "attribute %s has no value; %s", name, kAgain);
    }
    if (taps != nullptr) {
        return readFilter(plugin, *this, *field);
    }
    return words != nullptr ? readWord(plugin, *this, *field) : readNumber(plugin, *this, *field);
}

size_t Attribute::describe(char* text, size_t length, size_t capacity) const noexcept {
    auto const append = [&](char const* format, auto value) {
        if (length < capacity) {
            int const more = std::snprintf(text + length, capacity - length, format, value);
            length += static_cast<size_t>(std::max(more, 0));
        }
    };
    append(length == 0 ? "%s=" : " %s=", name);
    if (taps != nullptr) {
        for (int32_t i = 0; i < taps->count; ++i) {
            append(i == 0 ? "%.9g" : ",%.9g", static_cast<double>(taps->values[i]));
        }
    } else if (words != nullptr) {
        append("%s", words[*number]);
    } else {
        append("%d", *number);
    }
    return length;
}

}  // namespace differseg
