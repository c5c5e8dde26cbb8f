// DiffersegRfft2: (N, C, H, W) -> (N, C, 2, H, W/2+1), real and imaginary parts on axis 2.
#include "creators.h"
#include "differseg_kernels.h"
#include "plugin_base.h"

namespace differseg {
namespace {

class Rfft2 final : public PluginOf<Rfft2> {
public:
    static constexpr char kName[] = "DiffersegRfft2";

    Attributes attributes() noexcept override { return Attributes{word("norm", norm_, kNorms)}; }

protected:
    bool accepts(nvinfer1::Dims const* in) const noexcept override {
        return hasRank("the input", in[0], 4);
    }

    void outputShape(nvinfer1::DimsExprs const* in, nvinfer1::DimsExprs& out,
        Arithmetic const& a) const noexcept override {
        Expression const columns = a.plus(a.halfDown(in[0].d[3]), 1);
        out = {5, {in[0].d[0], in[0].d[1], a.number(2), in[0].d[2], columns}};
    }

    size_t workspaceBytes(int32_t dtype, nvinfer1::Dims const& in) const noexcept override {
        return differseg_rfft2_workspace(dtype, planes(in), extent(in, 2), extent(in, 3));
    }

    int launch(Launch const& call) const noexcept override {
        nvinfer1::Dims const& in = call.in[0];
        return differseg_rfft2(call.dtype, call.inputs[0], call.output, call.workspace, planes(in),
            extent(in, 2), extent(in, 3), norm_, call.stream);
    }

private:
    int32_t norm_{0};
};

}  // namespace

nvinfer1::IPluginCreatorInterface* rfft2Creator() noexcept {
    static Creator<Rfft2> creator;
    return &creator;
}

}  // namespace differseg
