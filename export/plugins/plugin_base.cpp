#include "plugin_base.h"

#include <algorithm>
#include <cuda_runtime_api.h>
#include <limits>

namespace differseg {

using namespace nvinfer1;

namespace {

constexpr int32_t kFailure = 1;

bool isReal(DataType type) noexcept { return type == DataType::kFLOAT || type == DataType::kHALF; }

int32_t codeOf(DataType type) noexcept { return type == DataType::kHALF ? 1 : 0; }

Dims knownExtents(DimsExprs const& expressions) noexcept {
    Dims dims{};
    dims.nbDims = expressions.nbDims;
    for (int32_t axis = 0; axis < std::min(dims.nbDims, Dims::MAX_DIMS); ++axis) {
        Expression const e = expressions.d[axis];
        dims.d[axis] = e->isConstant() ? e->getConstantValue() : -1;
    }
    return dims;
}

char const* adviceOn(cudaError_t error) noexcept {
    switch (error) {
        case cudaErrorNoKernelImageForDevice: return "build the library for this GPU";
        case cudaErrorInvalidValue:
        case cudaErrorInvalidConfiguration: return "use a smaller batch or smaller maps";
        default: return "see whether other programs run on this GPU";
    }
}

bool isEmpty(Dims const& dims) noexcept {
    return std::find(dims.d, dims.d + dims.nbDims, 0) != dims.d + dims.nbDims;
}

}  // namespace

bool Plugin::create(PluginFieldCollection const* fields) noexcept {
    if (fields == nullptr) {
        return complain(getPluginName(), "no attributes were given; load the ONNX file again");
    }
    size_t length = 0;
    for (Attribute const& attribute : attributes()) {
        if (!attribute.read(getPluginName(), *fields)) {
            return false;
        }
        length = attribute.describe(description_, length, sizeof description_);
    }
    return consistent();
}

IPluginCapability* Plugin::getCapabilityInterface(PluginCapabilityType type) noexcept {
    switch (type) {
        case PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore*>(this);
        case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
        case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
    }
    return nullptr;
}

int32_t Plugin::getOutputDataTypes(DataType* outputs, int32_t nbOutputs, DataType const* inputs,
    int32_t nbInputs) const noexcept {
    if (nbOutputs != 1 || nbInputs != inputCount()) {
        complain(getPluginName(), "the node has %d inputs and %d outputs, expected %d and 1",
            nbInputs, nbOutputs, inputCount());
        return kFailure;
    }
    for (int32_t i = 0; i < nbInputs; ++i) {
        if (!isReal(inputs[i]) || inputs[i] != inputs[0]) {
            complain(getPluginName(),
                "input %d is neither FP32 nor FP16, or not of the first input's type; "
                "export with --precision fp32 or fp16", i);
            return kFailure;
        }
    }
    outputs[0] = inputs[0];
    return 0;
}

int32_t Plugin::getOutputShapes(DimsExprs const* inputs, int32_t nbInputs, DimsExprs const*,
    int32_t, DimsExprs* outputs, int32_t nbOutputs, IExprBuilder& builder) noexcept {
    if (nbInputs != inputCount() || nbOutputs != 1) {
        complain(getPluginName(), "the node has %d inputs and %d outputs, expected %d and 1",
            nbInputs, nbOutputs, inputCount());
        return kFailure;
    }
    Dims known[kMostInputs];
    std::transform(inputs, inputs + nbInputs, known, knownExtents);
    if (!acceptsAll(known)) {
        return kFailure;
    }
    outputShape(inputs, outputs[0], Arithmetic{builder});
    return 0;
}

// Shapes that depend on a profile are known here first: a profile that the kernel would refuse at
// run time is refused while the engine is built.
int32_t Plugin::configurePlugin(DynamicPluginTensorDesc const* in, int32_t nbInputs,
    DynamicPluginTensorDesc const*, int32_t) noexcept {
    if (nbInputs != inputCount()) {
        return kFailure;
    }
    for (Dims DynamicPluginTensorDesc::* const bound :
        {&DynamicPluginTensorDesc::min, &DynamicPluginTensorDesc::max}) {
        Dims dims[kMostInputs];
        std::transform(in, in + nbInputs, dims,
            [bound](DynamicPluginTensorDesc const& d) { return d.*bound; });
        if (!acceptsAll(dims)) {
            return kFailure;
        }
    }
    return 0;
}

bool Plugin::supportsFormatCombination(
    int32_t pos, DynamicPluginTensorDesc const* inOut, int32_t, int32_t) noexcept {
    PluginTensorDesc const& desc = inOut[pos].desc;
    bool const typed = pos == 0 ? isReal(desc.type) : desc.type == inOut[0].desc.type;
    return typed && desc.format == TensorFormat::kLINEAR;
}

size_t Plugin::getWorkspaceSize(DynamicPluginTensorDesc const* inputs, int32_t,
    DynamicPluginTensorDesc const*, int32_t) const noexcept {
    return workspaceBytes(codeOf(inputs[0].desc.type), inputs[0].max);
}

int32_t Plugin::onShapeChange(
    PluginTensorDesc const* in, int32_t nbInputs, PluginTensorDesc const*, int32_t) noexcept {
    if (nbInputs != inputCount()) {
        return kFailure;
    }
    Dims dims[kMostInputs];
    std::transform(in, in + nbInputs, dims, [](PluginTensorDesc const& d) { return d.dims; });
    return acceptsAll(dims) ? 0 : kFailure;
}

int32_t Plugin::enqueue(PluginTensorDesc const* inDesc, PluginTensorDesc const* outDesc,
    void const* const* inputs, void* const* outputs, void* workspace,
    cudaStream_t stream) noexcept {
    if (isEmpty(outDesc[0].dims)) {  // a batch of none; CUDA refuses to launch nothing
        return 0;
    }
    Dims dims[kMostInputs];
    std::transform(
        inDesc, inDesc + inputCount(), dims, [](PluginTensorDesc const& d) { return d.dims; });
    int const error = launch({codeOf(inDesc[0].type), dims, outDesc[0].dims, inputs, outputs[0],
        workspace, stream});
    if (error != 0) {
        auto const code = static_cast<cudaError_t>(error);
        complain(getPluginName(), "the kernel did not start: %s; %s", cudaGetErrorString(code),
            adviceOn(code));
    }
    return error;
}

IPluginV3* Plugin::attachToContext(IPluginResourceContext*) noexcept { return clone(); }

PluginFieldCollection const* Plugin::getFieldsToSerialize() noexcept {
    collection_ = {0, fields_};
    for (Attribute const& attribute : attributes()) {
        fields_[collection_.nbFields++] = attribute.field();
    }
    return &collection_;
}

bool Plugin::acceptsAll(Dims const* in) const noexcept {
    constexpr int64_t kMostPlanes = std::numeric_limits<int32_t>::max();
    for (int32_t i = 0; i < inputCount(); ++i) {
        if (in[i].nbDims < 2 || in[i].nbDims > Dims::MAX_DIMS) {
            return complain(getPluginName(), "input %d has %d axes, expected 4 or 5", i,
                in[i].nbDims);
        }
        for (int32_t axis = 0; axis < in[i].nbDims; ++axis) {
            if (in[i].d[axis] > kLongest || (axis > 0 && in[i].d[axis] == 0)) {
                return complain(getPluginName(), "axis %d of input %d has extent %lld, expected "
                    "1 to %d", axis, i, static_cast<long long>(in[i].d[axis]), kLongest);
            }
        }
        if (in[i].d[0] > 0 && in[i].d[1] > 0 && in[i].d[0] > kMostPlanes / in[i].d[1]) {
            return complain(getPluginName(), "input %d has %lld x %lld planes, expected at most "
                "%lld; use a smaller batch", i, static_cast<long long>(in[i].d[0]),
                static_cast<long long>(in[i].d[1]), static_cast<long long>(kMostPlanes));
        }
        int64_t const height = in[i].d[in[i].nbDims - 2], width = in[i].d[in[i].nbDims - 1];
        if (height > 0 && width > 0 && height > kLongest / width) {
            return complain(getPluginName(), "input %d has maps of %lld x %lld, expected at most "
                "%d pixels; use smaller maps", i, static_cast<long long>(height),
                static_cast<long long>(width), kLongest);
        }
    }
    return accepts(in);
}

bool Plugin::hasRank(char const* tensor, Dims const& dims, int32_t rank) const noexcept {
    return dims.nbDims == rank
           || complain(getPluginName(), "%s has %d axes, expected %d", tensor, dims.nbDims, rank);
}

bool Plugin::hasExtent(
    char const* tensor, Dims const& dims, int32_t axis, int64_t expected) const noexcept {
    return dims.d[axis] < 0 || expected < 0 || dims.d[axis] == expected
           || complain(getPluginName(), "axis %d of %s has extent %lld, expected %lld", axis,
               tensor, static_cast<long long>(dims.d[axis]), static_cast<long long>(expected));
}

}  // namespace differseg
