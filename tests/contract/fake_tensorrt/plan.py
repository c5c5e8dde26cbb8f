"""The bytes of a fake engine: what a plan of TensorRT has in spirit.

``ftrt`` (the magic tag), length of the header, header (JSON: release, device, compatibility,
optimisation profiles, options), the ONNX model, CRC-32 of everything before.

Sources of the refusals: NVIDIA/TensorRT issues 574, 2041, 2176 and 2195, jetson-inference issue
426 (texts), ``HardwareCompatibilityLevel`` and ``BuilderFlag.VERSION_COMPATIBLE`` in
``NvInfer.h``; support matrix (engines of 8 run on 10 and of 10 on 11, not of 8 on 11).
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

from contract.device import Device
from contract.fake_tensorrt.generations import Generation

MAGIC = b"ftrt"


class PlanError(Exception):
    """Why a plan is refused, in TensorRT's words.

    Args:
        code: TensorRT's error code.
        text: Its message.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def write_plan(header: dict[str, Any], model: bytes) -> bytes:
    """A plan."""
    text = json.dumps(header, sort_keys=True).encode()
    body = MAGIC + struct.pack("<I", len(text)) + text + model
    return body + struct.pack("<I", zlib.crc32(body))


def read_plan(plan: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and model.

    Raises:
        PlanError: Not a plan, or damaged.
    """
    if len(plan) < 12 or not plan.startswith(MAGIC):
        raise PlanError(
            1, "Serialization assertion magicTagRead == kMAGIC_TAG failed. Magic tag does not match"
        )
    body, (stored,) = plan[:-4], struct.unpack("<I", plan[-4:])
    if zlib.crc32(body) != stored:
        raise PlanError(1, "Serialization assertion failed. The engine is truncated or corrupt")
    (length,) = struct.unpack("<I", body[4:8])
    return json.loads(body[8 : 8 + length]), body[8 + length :]


def check_compatible(
    header: dict[str, Any], generation: Generation, device: Device, host_code: bool
) -> None:
    """Refuse a plan of another release or device.

    Raises:
        PlanError: With what was expected and what the plan has.
    """
    mine, theirs = generation.version, header["tensorrt"]
    if mine != theirs:
        _check_release(header, mine, theirs)
        if not host_code:
            raise PlanError(
                3, "the engine contains host code (a lean runtime), which is not allowed"
            )
    if header["host_code"] and not host_code:
        raise PlanError(3, "the engine contains host code, set engine_host_code_allowed")
    built = tuple(header["sm"])
    level = header["hardware_compatibility"]
    portable = level == "AMPERE_PLUS" and min(built, device.sm) >= (8, 0)
    if built != device.sm and not portable:
        raise PlanError(
            6,
            "The engine plan file is generated on an incompatible device, expecting compute "
            f"{device.sm[0]}.{device.sm[1]} got compute {built[0]}.{built[1]}, please rebuild.",
        )


def _check_release(header: dict[str, Any], mine: str, theirs: str) -> None:
    here, there = (tuple(map(int, text.split("."))) for text in (mine, theirs))
    neighbours = {(8, 8), (8, 10), (10, 10), (10, 11), (11, 11)}
    if header["version_compatible"] and there <= here and (there[0], here[0]) in neighbours:
        if header["lean_runtime"]:
            return
        raise PlanError(3, "the engine needs a lean runtime, load it with load_runtime")
    if here[0] != there[0]:
        raise PlanError(
            1,
            "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed. Version tag "
            f"does not match. Note: Current Version: {here[0] * 29}, Serialized Engine Version: "
            f"{there[0] * 29}",
        )
    raise PlanError(
        6,
        "The engine plan file is not compatible with this version of TensorRT, expecting library "
        f"version {mine} got {theirs}, please rebuild.",
    )
