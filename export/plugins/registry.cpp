// The two functions by which TensorRT reads a plugin library; plugins.map exports nothing else.
#include "creators.h"
#include "messages.h"

#include <NvInferRuntime.h>

extern "C" void setLoggerFinder(nvinfer1::ILoggerFinder* finder) noexcept {
    differseg::setFinder(finder);
}

extern "C" nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) noexcept {
    static nvinfer1::IPluginCreatorInterface* const creators[] = {
        differseg::rfft2Creator(),
        differseg::irfft2Creator(),
        differseg::dwt2Creator(),
        differseg::idwt2Creator(),
        differseg::reassembleCreator(),
        differseg::localSimilarityCreator(),
    };
    count = static_cast<int32_t>(sizeof creators / sizeof *creators);
    return creators;
}
