"""Which device and number format a run uses, each with the reason."""

from __future__ import annotations

import torch

from differseg.errors import InputError, MissingComponentError
from differseg.manifest import Decision


def choose_device(name: str) -> Decision:
    """Resolve ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        InputError: Not a device.
        MissingComponentError: A GPU that torch does not see.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return Decision("device", "cuda", f"torch sees {torch.cuda.get_device_name(0)}")
        return Decision("device", "cpu", "torch sees no CUDA GPU")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MissingComponentError(
            f"--device {name}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            "GPU(s); use --device cpu, or install a CUDA build of torch and its driver"
        )
    return Decision("device", name, "asked for")


def choose_precision(name: str, device: torch.device) -> Decision:
    """Resolve ``auto``, ``fp32``, ``amp``, ``bf16`` or ``fp16`` to fp32, bf16 or fp16.

    bf16 has float32's range and needs no loss scaling, so it is taken where the GPU computes it
    itself.

    Raises:
        InputError: ``amp`` without a GPU, or bf16 on a GPU that does not compute it.
    """
    on_gpu = device.type == "cuda"
    bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "bf16" and on_gpu and not bf16:
        raise InputError(
            "--precision bf16: this GPU does not compute bfloat16; use --precision fp16, or auto"
        )
    if name in ("fp32", "bf16", "fp16"):
        return Decision("precision", name, "asked for")
    if not on_gpu:
        if name == "amp":
            raise InputError(
                "--precision amp: mixed precision needs a GPU and this run is on the CPU; "
                "use --precision auto or fp32"
            )
        return Decision("precision", "fp32", "no GPU, and mixed precision gains nothing on a CPU")
    if bf16:
        return Decision("precision", "bf16", "mixed precision; the GPU computes bfloat16")
    return Decision("precision", "fp16", "mixed precision with loss scaling; no bfloat16 here")
