// The creators of all plugins, each defined beside its plugin.
#pragma once

#include <NvInferRuntime.h>

namespace differseg {

nvinfer1::IPluginCreatorInterface* rfft2Creator() noexcept;
nvinfer1::IPluginCreatorInterface* irfft2Creator() noexcept;
nvinfer1::IPluginCreatorInterface* dwt2Creator() noexcept;
nvinfer1::IPluginCreatorInterface* idwt2Creator() noexcept;
nvinfer1::IPluginCreatorInterface* reassembleCreator() noexcept;
nvinfer1::IPluginCreatorInterface* localSimilarityCreator() noexcept;

}  // namespace differseg
