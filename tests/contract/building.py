"""The shortest way from a model to a plan, for the test-bed's own tests."""

from __future__ import annotations

from typing import Any

import onnx
from contract.install import Bed


def creation_flags(bed: Bed, typed: bool = True) -> int:
    """What ``create_network`` should be given in this release."""
    members = bed.tensorrt.NetworkDefinitionCreationFlag.__members__
    if bed.world.major < 10:
        return 1 << int(members["EXPLICIT_BATCH"])
    return 1 << int(members["STRONGLY_TYPED"]) if typed and bed.world.major == 10 else 0


def parsed(bed: Bed, model: onnx.ModelProto, typed: bool = True) -> tuple[Any, Any, Any, Any]:
    """Builder, network, parser (which has parsed) and configuration."""
    trt = bed.tensorrt
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(creation_flags(bed, typed))
    parser = trt.OnnxParser(network, logger)
    parser.parse(model.SerializeToString())
    return builder, network, parser, builder.create_builder_config()


def built(bed: Bed, model: onnx.ModelProto, *flags: str, typed: bool = True) -> bytes | None:
    """The plan, or None where the build was refused."""
    builder, network, _, config = parsed(bed, model, typed)
    for flag in flags:
        config.set_flag(bed.tensorrt.BuilderFlag.__members__[flag])
    plan = builder.build_serialized_network(network, config)
    return None if plan is None else bytes(plan)


def engine_of(bed: Bed, plan: bytes, host_code: bool = False) -> Any:
    """The engine, or None."""
    trt = bed.tensorrt
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    if host_code:
        runtime.engine_host_code_allowed = True
    return runtime.deserialize_cuda_engine(plan)
