// Workspace of the Fourier transforms where height or width is known only at run time.
#pragma once

#include <algorithm>
#include <cstddef>

namespace differseg {

struct Range {
    int lowest;
    int highest;
};

// Bytes for every size in the ranges, from the kernels' answer for one size.  A larger size may
// need less, where its columns fill their tiles better, so every height and every width is asked
// for.  The part for the spectrum grows with the width, and the rest is at most one term an axis:
// two ranges need no more than the sum of both maxima.
template <typename Workspace>
size_t largestWorkspace(Workspace workspace, int planes, Range height, Range width) noexcept {
    size_t overHeights = 0;
    for (int h = std::min(height.lowest, height.highest); h <= height.highest; ++h) {
        overHeights = std::max(overHeights, workspace(planes, h, width.highest));
    }
    if (width.lowest == width.highest) {
        return overHeights;
    }
    size_t overWidths = 0;
    for (int w = std::min(width.lowest, width.highest); w <= width.highest; ++w) {
        overWidths = std::max(overWidths, workspace(planes, height.highest, w));
    }
    return height.lowest == height.highest ? overWidths : overHeights + overWidths;
}

}  // namespace differseg
