// What the plugins share: the three capabilities of an IPluginV3 object and its creator.
//
// A plugin derives from PluginOf<itself> and says four things: its attributes, the shapes that it
// takes, the shape that it makes, and the kernel to launch.  Every method is noexcept and nothing
// allocates except create and clone, which return a null pointer when they cannot.  One source
// compiles against TensorRT 10.0 to 11.x, whose parsers find the plugins from 10.1 on; the library
// needs no symbol of libnvinfer.
#pragma once

#include "attributes.h"
#include "messages.h"

#include <NvInferRuntime.h>

#include <cstddef>
#include <cstdint>
#include <new>

#if NV_TENSORRT_MAJOR < 10
#error "differseg's plugins need TensorRT 10.1 or later: older ones have no IPluginV3"
#endif

namespace differseg {

constexpr char kNamespace[] = "differseg";
constexpr char kVersion[] = "1";

// The longest axis that the kernels take, and the most pixels of a map.
constexpr int32_t kLongest = (1 << 30) - 1;

using Expression = nvinfer1::IDimensionExpr const*;

// Integer arithmetic on extents that may be known only at run time.
class Arithmetic {
public:
    explicit Arithmetic(nvinfer1::IExprBuilder& builder) noexcept : builder_{builder} {}

    Expression number(int64_t value) const noexcept { return builder_.constant(value); }
    Expression plus(Expression a, int64_t b) const noexcept {
        return apply(nvinfer1::DimensionOperation::kSUM, a, b);
    }
    Expression times(Expression a, int64_t b) const noexcept {
        return apply(nvinfer1::DimensionOperation::kPROD, a, b);
    }
    Expression halfDown(Expression a) const noexcept {
        return apply(nvinfer1::DimensionOperation::kFLOOR_DIV, a, 2);
    }
    Expression halfUp(Expression a) const noexcept {
        return apply(nvinfer1::DimensionOperation::kCEIL_DIV, a, 2);
    }

private:
    Expression apply(
        nvinfer1::DimensionOperation operation, Expression a, int64_t b) const noexcept {
        return builder_.operation(operation, *a, *number(b));
    }

    nvinfer1::IExprBuilder& builder_;
};

// One call of a kernel: dtype is 0 for fp32 and 1 for fp16, every extent is known.
struct Launch {
    int32_t dtype;
    nvinfer1::Dims const* in;
    nvinfer1::Dims const& out;
    void const* const* inputs;
    void* output;
    void* workspace;
    cudaStream_t stream;
};

// An extent, or the product of the leading two, as the kernels take it; accepts() bounds both.
inline int extent(nvinfer1::Dims const& dims, int32_t axis) noexcept {
    return static_cast<int>(dims.d[axis]);
}
inline int planes(nvinfer1::Dims const& dims) noexcept {
    return static_cast<int>(dims.d[0] * dims.d[1]);
}

class Plugin : public nvinfer1::IPluginV3,
               public nvinfer1::IPluginV3OneCore,
               public nvinfer1::IPluginV3OneBuild,
               public nvinfer1::IPluginV3OneRuntime {
public:
    // Take the attributes; false, with a message, when one is missing or not legal.
    bool create(nvinfer1::PluginFieldCollection const* fields) noexcept;

    // The attributes, which point at the members of this object.
    virtual Attributes attributes() noexcept = 0;

    // IPluginV3
    nvinfer1::IPluginCapability* getCapabilityInterface(
        nvinfer1::PluginCapabilityType type) noexcept override;

    // IPluginV3OneCore
    nvinfer1::AsciiChar const* getPluginVersion() const noexcept override { return kVersion; }
    nvinfer1::AsciiChar const* getPluginNamespace() const noexcept override { return kNamespace; }

    // IPluginV3OneBuild
    int32_t configurePlugin(nvinfer1::DynamicPluginTensorDesc const* in, int32_t nbInputs,
        nvinfer1::DynamicPluginTensorDesc const* out, int32_t nbOutputs) noexcept override;
    int32_t getOutputDataTypes(nvinfer1::DataType* outputs, int32_t nbOutputs,
        nvinfer1::DataType const* inputs, int32_t nbInputs) const noexcept override;
    int32_t getOutputShapes(nvinfer1::DimsExprs const* inputs, int32_t nbInputs,
        nvinfer1::DimsExprs const* shapeInputs, int32_t nbShapeInputs,
        nvinfer1::DimsExprs* outputs, int32_t nbOutputs,
        nvinfer1::IExprBuilder& builder) noexcept override;
    bool supportsFormatCombination(int32_t pos, nvinfer1::DynamicPluginTensorDesc const* inOut,
        int32_t nbInputs, int32_t nbOutputs) noexcept override;
    int32_t getNbOutputs() const noexcept override { return 1; }
    size_t getWorkspaceSize(nvinfer1::DynamicPluginTensorDesc const* inputs, int32_t nbInputs,
        nvinfer1::DynamicPluginTensorDesc const* outputs,
        int32_t nbOutputs) const noexcept override;
    char const* getTimingCacheID() noexcept override { return description_; }
    char const* getMetadataString() noexcept override { return description_; }

    // IPluginV3OneRuntime
    int32_t onShapeChange(nvinfer1::PluginTensorDesc const* in, int32_t nbInputs,
        nvinfer1::PluginTensorDesc const* out, int32_t nbOutputs) noexcept override;
    int32_t enqueue(nvinfer1::PluginTensorDesc const* inDesc,
        nvinfer1::PluginTensorDesc const* outDesc, void const* const* inputs,
        void* const* outputs, void* workspace, cudaStream_t stream) noexcept override;
    nvinfer1::IPluginV3* attachToContext(
        nvinfer1::IPluginResourceContext* context) noexcept override;
    nvinfer1::PluginFieldCollection const* getFieldsToSerialize() noexcept override;

protected:
    static constexpr int32_t kMostInputs = 2;

    virtual int32_t inputCount() const noexcept { return 1; }

    // Whether the attributes go together; says what does not.
    virtual bool consistent() const noexcept { return true; }

    // Whether these shapes can be taken, an extent of -1 being unknown; says what is wrong.
    virtual bool accepts(nvinfer1::Dims const* in) const noexcept = 0;

    virtual void outputShape(nvinfer1::DimsExprs const* in, nvinfer1::DimsExprs& out,
        Arithmetic const& arithmetic) const noexcept = 0;

    // Bytes for a first input of this shape or a smaller one.
    virtual size_t workspaceBytes(int32_t, nvinfer1::Dims const&) const noexcept { return 0; }

    // Start the kernel; 0, or the CUDA error.  Legal under stream capture.
    virtual int launch(Launch const& call) const noexcept = 0;

    bool hasRank(char const* tensor, nvinfer1::Dims const& dims, int32_t rank) const noexcept;
    bool hasExtent(char const* tensor, nvinfer1::Dims const& dims, int32_t axis,
        int64_t expected) const noexcept;

private:
    bool acceptsAll(nvinfer1::Dims const* in) const noexcept;

    nvinfer1::PluginField fields_[Attributes::kMost]{};
    nvinfer1::PluginFieldCollection collection_{};
    char description_[1536]{};  // room for two filters of the longest kind
};

// The parts that need the plugin's own type.
template <typename P>
class PluginOf : public Plugin {
public:
    nvinfer1::AsciiChar const* getPluginName() const noexcept override { return P::kName; }
    nvinfer1::IPluginV3* clone() noexcept override {
        return new (std::nothrow) P(static_cast<P const&>(*this));
    }
};

template <typename P>
class Creator final : public nvinfer1::IPluginCreatorV3One {
public:
    Creator() noexcept {
        P prototype;
        for (Attribute const& attribute : prototype.attributes()) {
            names_[collection_.nbFields++] = {attribute.name, nullptr, attribute.type(), 1};
        }
        collection_.fields = names_;
    }

    nvinfer1::IPluginV3* createPlugin(nvinfer1::AsciiChar const*,
        nvinfer1::PluginFieldCollection const* fields,
        nvinfer1::TensorRTPhase) noexcept override {
        P* const plugin = new (std::nothrow) P{};
        if (plugin != nullptr && !plugin->create(fields)) {
            delete plugin;
            return nullptr;
        }
        return plugin;
    }
    nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override {
        return &collection_;
    }
    nvinfer1::AsciiChar const* getPluginName() const noexcept override { return P::kName; }
    nvinfer1::AsciiChar const* getPluginVersion() const noexcept override { return kVersion; }
    nvinfer1::AsciiChar const* getPluginNamespace() const noexcept override { return kNamespace; }

private:
    nvinfer1::PluginField names_[Attributes::kMost]{};
    nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace differseg
