// DiffersegLocalSimilarity: (N, C, H, W) -> (N, k*k-1, H, W), cosine with the dilated neighbours.
#include "creators.h"
#include "differseg_kernels.h"
#include "plugin_base.h"
#include "window.h"

namespace differseg {
namespace {

class LocalSimilarity final : public PluginOf<LocalSimilarity> {
public:
    static constexpr char kName[] = "DiffersegLocalSimilarity";

    Attributes attributes() noexcept override {
        return Attributes{
            number("kernel_size", kernel_, 3, kWidestWindow),
            number("dilation", dilation_, 1, kMostDilation),
        };
    }

protected:
    bool consistent() const noexcept override { return isOdd(kName, kernel_); }

    bool accepts(nvinfer1::Dims const* in) const noexcept override {
        return hasRank("the input", in[0], 4);
    }

    void outputShape(nvinfer1::DimsExprs const* in, nvinfer1::DimsExprs& out,
        Arithmetic const& a) const noexcept override {
        Expression const neighbours = a.number(kernel_ * kernel_ - 1);
        out = {4, {in[0].d[0], neighbours, in[0].d[2], in[0].d[3]}};
    }

    int launch(Launch const& call) const noexcept override {
        nvinfer1::Dims const& in = call.in[0];
        return differseg_local_similarity(call.dtype, call.inputs[0], call.output, extent(in, 0),
            extent(in, 1), extent(in, 2), extent(in, 3), kernel_, dilation_, call.stream);
    }

private:
    int32_t kernel_{3};
    int32_t dilation_{1};
};

}  // namespace

nvinfer1::IPluginCreatorInterface* localSimilarityCreator() noexcept {
    static Creator<LocalSimilarity> creator;
    return &creator;
}

}  // namespace differseg
