// DiffersegDwt2: (N, C, H, W) -> (N, C, 4, h, w), bands LL, LH, HL, HH on axis 2.
#include "creators.h"
#include "differseg_kernels.h"
#include "plugin_base.h"
#include "wavelet_bank.h"

namespace differseg {
namespace {

class Dwt2 final : public PluginOf<Dwt2> {
public:
    static constexpr char kName[] = "DiffersegDwt2";

    Attributes attributes() noexcept override {
        return Attributes{
            filter("lowpass", bank_.lowpass),
            filter("highpass", bank_.highpass),
            word("mode", bank_.mode, kModes),
        };
    }

protected:
    bool consistent() const noexcept override { return bank_.isPadded(kName); }

    bool accepts(nvinfer1::Dims const* in) const noexcept override {
        return hasRank("the input", in[0], 4) && isReflectable("height", in[0].d[2])
               && isReflectable("width", in[0].d[3]);
    }

    void outputShape(nvinfer1::DimsExprs const* in, nvinfer1::DimsExprs& out,
        Arithmetic const& a) const noexcept override {
        auto const coefficients = [&](Expression length) {
            return bank_.isPeriodization() ? a.halfUp(length)
                                           : a.halfDown(a.plus(length, bank_.taps() - 1));
        };
        Expression const rows = coefficients(in[0].d[2]);
        out = {5, {in[0].d[0], in[0].d[1], a.number(4), rows, coefficients(in[0].d[3])}};
    }

    int launch(Launch const& call) const noexcept override {
        nvinfer1::Dims const& in = call.in[0];
        return differseg_dwt2(call.dtype, call.inputs[0], call.output, planes(in), extent(in, 2),
            extent(in, 3), bank_.lowpass.values, bank_.taps(), bank_.highpass.values, bank_.taps(),
            bank_.mode, call.stream);
    }

private:
    // Mode reflect repeats all but the border itself: of one pixel there is nothing to repeat.
    bool isReflectable(char const* what, int64_t length) const noexcept {
        return length != 1 || bank_.mode != DIFFERSEG_REFLECT
               || complain(kName, "mode reflect needs 2 pixels along an axis, but the %s is 1; use "
                   "another mode such as symmetric, or a larger map", what);
    }

    WaveletBank bank_;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* dwt2Creator() noexcept {
    static Creator<Dwt2> creator;
    return &creator;
}

}  // namespace differseg
