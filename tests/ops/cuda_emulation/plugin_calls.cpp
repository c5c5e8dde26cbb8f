// Calls a plugin as TensorRT does, from Python: emulated_plugins.py has the other side.
#include <NvInferRuntime.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

using namespace nvinfer1;

namespace {

// A tensor's shape, in the layout of emulated_plugins.Shape.
struct Shape {
    int64_t extents[5];
    int32_t axes;
};

Dims dimsOf(Shape const& shape) {
    Dims dims{};
    dims.nbDims = shape.axes;
    std::memcpy(dims.d, shape.extents, sizeof shape.extents);
    return dims;
}

PluginTensorDesc describe(Shape const& shape, bool isHalf) {
    PluginTensorDesc desc{};
    desc.dims = dimsOf(shape);
    desc.type = isHalf ? DataType::kHALF : DataType::kFLOAT;
    desc.format = TensorFormat::kLINEAR;
    return desc;
}

template <typename Capability>
Capability* capabilityOf(IPluginV3* plugin, PluginCapabilityType type) {
    return static_cast<Capability*>(plugin->getCapabilityInterface(type));
}
IPluginV3OneBuild* buildOf(IPluginV3* plugin) {
    return capabilityOf<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
}
IPluginV3OneRuntime* runtimeOf(IPluginV3* plugin) {
    return capabilityOf<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
}

}  // namespace

extern "C" {

// A plugin that went the way of one in an engine: made, written, made again, given to a context.
// Each is deleted once the next is there, which must need nothing of it. Null where refused.
IPluginV3* makePlugin(IPluginCreatorInterface* interface, PluginFieldCollection const* fields) {
    auto* const creator = static_cast<IPluginCreatorV3One*>(interface);
    std::unique_ptr<IPluginV3> const built{
        creator->createPlugin("node", fields, TensorRTPhase::kBUILD)};
    if (!built) {
        return nullptr;
    }
    PluginFieldCollection const* const written = runtimeOf(built.get())->getFieldsToSerialize();
    std::unique_ptr<IPluginV3> read{
        creator->createPlugin("node", written, TensorRTPhase::kRUNTIME)};
    return read ? runtimeOf(read.get())->attachToContext(nullptr) : nullptr;
}

void deletePlugin(IPluginV3* plugin) { delete plugin; }

// Shapes come as the smallest and the largest of each input.
int configure(IPluginV3* plugin, int isHalf, Shape const* least, Shape const* most, int inputs) {
    std::vector<DynamicPluginTensorDesc> descs(inputs);
    for (int i = 0; i < inputs; ++i) {
        descs[i].desc = describe(most[i], isHalf);
        descs[i].min = dimsOf(least[i]);
        descs[i].opt = descs[i].max = dimsOf(most[i]);
    }
    DynamicPluginTensorDesc const out{};
    return buildOf(plugin)->configurePlugin(descs.data(), inputs, &out, 1);
}

// Whether the tensor at a position may have this type and format, the one before it being linear
// and of the first type.
bool supports(IPluginV3* plugin, int position, int firstType, int type, int format) {
    DynamicPluginTensorDesc descs[3]{};
    for (DynamicPluginTensorDesc& each : descs) {
        each.desc.type = static_cast<DataType>(firstType);
    }
    descs[position].desc.type = static_cast<DataType>(type);
    descs[position].desc.format = static_cast<TensorFormat>(format);
    return buildOf(plugin)->supportsFormatCombination(position, descs, 2, 1);
}

// 0, or what the plugin answered; the workspace is of the size that it asked for and full of NaN.
int run(IPluginV3* plugin, int isHalf, Shape const* shapes, int inputs, void const* const* in,
        Shape const* outShape, void* out) {
    std::vector<PluginTensorDesc> descs;
    std::vector<DynamicPluginTensorDesc> bounds;
    for (int i = 0; i < inputs; ++i) {
        descs.push_back(describe(shapes[i], isHalf));
        bounds.push_back({descs[i], descs[i].dims, descs[i].dims, descs[i].dims});
    }
    PluginTensorDesc const outDesc = describe(*outShape, isHalf);
    DynamicPluginTensorDesc const outBounds{outDesc, outDesc.dims, outDesc.dims, outDesc.dims};
    if (int const refused = runtimeOf(plugin)->onShapeChange(descs.data(), inputs, &outDesc, 1)) {
        return refused;
    }
    size_t const bytes
        = buildOf(plugin)->getWorkspaceSize(bounds.data(), inputs, &outBounds, 1);
    std::unique_ptr<void, decltype(&std::free)> const workspace{
        std::aligned_alloc(256, (bytes + 256) / 256 * 256), &std::free};
    std::memset(workspace.get(), 0xff, bytes);
    void* outputs[] = {out};
    return runtimeOf(plugin)->enqueue(
        descs.data(), &outDesc, in, outputs, workspace.get(), nullptr);
}

}  // extern "C"
