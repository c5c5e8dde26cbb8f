// The attributes that both wavelet transforms have: a pair of filters and how the border goes on.
#pragma once

#include "attributes.h"
#include "messages.h"

namespace differseg {

struct WaveletBank {
    Taps lowpass;
    Taps highpass;
    int32_t mode{0};

    int32_t taps() const noexcept { return lowpass.count; }
    bool isPeriodization() const noexcept { return mode == DIFFERSEG_PERIODIZATION; }

    // PyWavelets pads the filters of a bank to one even length, which the sizes depend on.
    bool isPadded(char const* plugin) const noexcept {
        return (lowpass.count == highpass.count && lowpass.count % 2 == 0)
               || complain(plugin, "lowpass has %d taps and highpass %d, expected one even number; "
                   "pad them with zeros as PyWavelets does", lowpass.count, highpass.count);
    }
};

}  // namespace differseg
