"""A server that speaks Triton's gRPC protocol, serves a repository, and computes by ONNX Runtime.

It holds every request against the configuration as Triton does: types, shapes and batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype


def read_config(folder: Path) -> Any:
    """Parse a model's config.pbtxt by the published schema."""
    text = (folder / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


class _Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, repository: Path) -> None:
        self.models = {}
        for folder in repository.iterdir():
            config = read_config(folder)
            assert config.name == folder.name
            newest = max(int(f.name) for f in folder.iterdir() if f.name.isdecimal())
            session = onnxruntime.InferenceSession(
                str(folder / str(newest) / config.default_model_filename),
                providers=["CPUExecutionProvider"],
            )
            if config.max_batch_size:  # the rule of Triton's ONNX backend
                assert all(isinstance(node.shape[0], str) for node in session.get_inputs())
            self.models[config.name] = config, session
            for sample in config.model_warmup:
                self.warm_up(config, session, sample)

    def warm_up(self, config: Any, session: Any, sample: Any) -> None:
        feeds = {}
        for name, tensor in sample.inputs.items():
            dtype = _dtype(tensor.data_type)
            shape = [sample.batch_size, *tensor.dims] if config.max_batch_size else tensor.dims
            low, high = (0, 255) if dtype == np.uint8 else (0, 1)
            noise = np.random.default_rng(0).uniform(low, high, tuple(shape))
            feeds[name] = (noise * tensor.random_data).astype(dtype)
        session.run(None, feeds)

    def ModelConfig(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelConfigResponse(config=self.models[request.name][0])

    def ModelInfer(self, request: Any, context: Any) -> Any:
        config, session = self.models[request.model_name]
        wanted = {tensor.name: tensor for tensor in config.input}
        feeds = {}
        for tensor, data in zip(request.inputs, request.raw_input_contents, strict=True):
            spec, shape = wanted[tensor.name], list(tensor.shape)
            expected = [shape[0], *spec.dims] if config.max_batch_size else list(spec.dims)
            dtype = np.dtype(triton_to_np_dtype(tensor.datatype))
            if shape != expected or shape[0] > max(1, config.max_batch_size):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{tensor.name}: {shape}")
            if dtype != _dtype(spec.data_type):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{tensor.name}: {dtype}")
            feeds[tensor.name] = np.frombuffer(data, dtype).reshape(shape)
        answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1")
        names = [tensor.name for tensor in config.output]
        for name, array in zip(names, session.run(names, feeds), strict=True):
            answer.outputs.add(
                name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape
            )
            answer.raw_output_contents.append(array.tobytes())
        return answer


def _dtype(data_type: int) -> np.dtype[Any]:
    name = model_config_pb2.DataType.Name(data_type).removeprefix("TYPE_")
    return np.dtype(triton_to_np_dtype(name))


@contextlib.contextmanager
def serving(repository: Path) -> Iterator[str]:
    """Serve a repository; yields the address."""
    server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Service(repository), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None)
