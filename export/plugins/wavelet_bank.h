// The attributes that both wavelet transforms have: a pair of filters and how the border goes on.
#pragma once

#include "attributes.h"
#include "messages.h"

namespace differseg {

constexpr int32_t kPeriodization = 4;  // its place in kModes

struct WaveletBank {
    Taps lowpass;
    Taps highpass;
    int32_t mode{0};

    int32_t taps() const noexcept { return lowpass.count; }
    bool isPeriodization() const noexcept { return mode == kPeriodization; }

    // PyWavelets pads the filters of a bank to one length, which sets the number of coefficients.
    bool hasOneLength(char const* plugin) const noexcept {
        return lowpass.count == highpass.count
               || complain(plugin, "lowpass has %d taps and highpass %d, expected as many; pad the "
                   "shorter one with zeros as PyWavelets does", lowpass.count, highpass.count);
    }
};

}  // namespace differseg
