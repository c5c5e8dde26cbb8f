// DiffersegReassemble: x (N, C, h, w) and kernels (N, groups*k*k, s*h, s*w) -> (N, C, s*h, s*w).
#include "creators.h"
#include "differseg_kernels.h"
#include "plugin_base.h"
#include "window.h"

namespace differseg {
namespace {

class Reassemble final : public PluginOf<Reassemble> {
public:
    static constexpr char kName[] = "DiffersegReassemble";

    Attributes attributes() noexcept override {
        return Attributes{
            number("kernel_size", kernel_, 1, kWidestWindow),
            number("scale", scale_, 1, 4),
            number("dilation", dilation_, 1, kMostDilation),
            number("groups", groups_, 1, kMostGroups),
            word("border", border_, kBorders),
            word("normalize", normalize_, kNormalize),
        };
    }

protected:
    int32_t inputCount() const noexcept override { return 2; }

    bool consistent() const noexcept override { return isOdd(kName, kernel_); }

    bool accepts(nvinfer1::Dims const* in) const noexcept override {
        nvinfer1::Dims const &x = in[0], &kernels = in[1];
        if (!hasRank("x", x, 4) || !hasRank("kernels", kernels, 4)) {
            return false;
        }
        if (x.d[1] > 0 && x.d[1] % groups_ != 0) {
            return complain(kName, "%lld channels of x do not divide into %d groups",
                static_cast<long long>(x.d[1]), groups_);
        }
        return hasExtent("kernels", kernels, 0, x.d[0])
               && hasExtent("kernels", kernels, 1, int64_t{groups_} * kernel_ * kernel_)
               && hasExtent("kernels", kernels, 2, x.d[2] < 0 ? -1 : scale_ * x.d[2])
               && hasExtent("kernels", kernels, 3, x.d[3] < 0 ? -1 : scale_ * x.d[3]);
    }

    void outputShape(nvinfer1::DimsExprs const* in, nvinfer1::DimsExprs& out,
        Arithmetic const& a) const noexcept override {
        Expression const rows = a.times(in[0].d[2], scale_);
        out = {4, {in[0].d[0], in[0].d[1], rows, a.times(in[0].d[3], scale_)}};
    }

    int launch(Launch const& call) const noexcept override {
        nvinfer1::Dims const& x = call.in[0];
        return differseg_reassemble(call.dtype, call.inputs[0], call.inputs[1], call.output,
            extent(x, 0), extent(x, 1), extent(x, 2), extent(x, 3), kernel_, scale_, dilation_,
            groups_, border_, normalize_, call.stream);
    }

private:
    static constexpr int32_t kMostGroups = 65536;

    int32_t kernel_{1};
    int32_t scale_{1};
    int32_t dilation_{1};
    int32_t groups_{1};
    int32_t border_{0};
    int32_t normalize_{0};
};

}  // namespace

nvinfer1::IPluginCreatorInterface* reassembleCreator() noexcept {
    static Creator<Reassemble> creator;
    return &creator;
}

}  // namespace differseg
