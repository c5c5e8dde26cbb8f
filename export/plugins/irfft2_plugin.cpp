// DiffersegIrfft2: (N, C, 2, H, W/2+1) -> (N, C, H, W), with W the attribute width.
#include "creators.h"
#include "differseg_kernels.h"
#include "plugin_base.h"

namespace differseg {
namespace {

class Irfft2 final : public PluginOf<Irfft2> {
public:
    static constexpr char kName[] = "DiffersegIrfft2";

    Attributes attributes() noexcept override {
        return Attributes{
            number("width", width_, 1, kLongest),
            word("norm", norm_, kNorms),
        };
    }

protected:
    bool accepts(nvinfer1::Dims const* in) const noexcept override {
        return hasRank("the spectrum", in[0], 5) && hasExtent("the spectrum", in[0], 2, 2)
               && hasExtent("the spectrum", in[0], 4, width_ / 2 + 1);
    }

    void outputShape(nvinfer1::DimsExprs const* in, nvinfer1::DimsExprs& out,
        Arithmetic const& a) const noexcept override {
        out = {4, {in[0].d[0], in[0].d[1], in[0].d[3], a.number(width_)}};
    }

    size_t workspaceBytes(int32_t dtype, nvinfer1::Dims const& in) const noexcept override {
        return differseg_irfft2_workspace(dtype, planes(in), extent(in, 3), width_);
    }

    int launch(Launch const& call) const noexcept override {
        nvinfer1::Dims const& in = call.in[0];
        return differseg_irfft2(call.dtype, call.inputs[0], call.output, call.workspace,
            planes(in), extent(in, 3), width_, norm_, call.stream);
    }

private:
    int32_t width_{0};
    int32_t norm_{0};
};

}  // namespace

nvinfer1::IPluginCreatorInterface* irfft2Creator() noexcept {
    static Creator<Irfft2> creator;
    return &creator;
}

}  // namespace differseg
