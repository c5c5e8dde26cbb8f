// DiffersegIdwt2: (N, C, 4, h, w) -> (N, C, H, W), with H and W the attributes height and width.
#include "creators.h"
#include "differseg_kernels.h"
#include "plugin_base.h"
#include "wavelet_bank.h"

namespace differseg {
namespace {

class Idwt2 final : public PluginOf<Idwt2> {
public:
    static constexpr char kName[] = "DiffersegIdwt2";

    Attributes attributes() noexcept override {
        return Attributes{
            filter("lowpass", bank_.lowpass),
            filter("highpass", bank_.highpass),
            word("mode", bank_.mode, kModes),
            number("height", height_, 1, kLongest),
            number("width", width_, 1, kLongest),
        };
    }

protected:
    bool consistent() const noexcept override { return bank_.isPadded(kName); }

    bool accepts(nvinfer1::Dims const* in) const noexcept override {
        return hasRank("the bands", in[0], 5) && hasExtent("the bands", in[0], 2, 4)
               && reaches("height", height_, in[0].d[3]) && reaches("width", width_, in[0].d[4]);
    }

    void outputShape(nvinfer1::DimsExprs const* in, nvinfer1::DimsExprs& out,
        Arithmetic const& a) const noexcept override {
        out = {4, {in[0].d[0], in[0].d[1], a.number(height_), a.number(width_)}};
    }

    int launch(Launch const& call) const noexcept override {
        nvinfer1::Dims const& in = call.in[0];
        return differseg_idwt2(call.dtype, call.inputs[0], call.output, planes(in), extent(in, 3),
            extent(in, 4), height_, width_, bank_.lowpass.values, bank_.taps(),
            bank_.highpass.values, bank_.taps(), bank_.mode, call.stream);
    }

private:
    // Whether so many coefficients make a signal that can be cropped to this length.
    bool reaches(char const* what, int64_t length, int64_t coefficients) const noexcept {
        int64_t const whole = 2 * coefficients - (bank_.isPeriodization() ? 0 : bank_.taps() - 2);
        return coefficients < 0 || length <= whole
               || complain(kName, "%s is %lld, but %lld coefficients make at most %lld samples; "
                   "give the size that the bands were made from", what,
                   static_cast<long long>(length), static_cast<long long>(coefficients),
                   static_cast<long long>(whole));
    }

    WaveletBank bank_;
    int32_t height_{0};
    int32_t width_{0};
};

}  // namespace

nvinfer1::IPluginCreatorInterface* idwt2Creator() noexcept {
    static Creator<Idwt2> creator;
    return &creator;
}

}  // namespace differseg
