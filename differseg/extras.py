"""Which extra brings a package that is not installed: one table, and the one line that says so.

Standard library only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from differseg.errors import MissingComponentError

EXTRAS = {
    "torch": "export", "onnx": "export", "onnx_ir": "export", "onnxscript": "export",
    "google": "export", "pywt": "export", "safetensors": "export", "cv2": "runtime",
    "onnxruntime": "runtime", "timm": "timm", "torchvision": "timm", "polygraphy": "layers",
    "accelerate": "train", "tensorboard": "train", "tomli": "train", "skimage": "train",
    "starlette": "web", "uvicorn": "web", "websockets": "web", "prometheus_client": "web",
}  # fmt: skip
"""Imported name -> extra of differseg that installs it."""


@contextlib.contextmanager
def naming_the_extra(user: str) -> Iterator[None]:
    """Let a package that the block misses be an error that names what to install.

    Args:
        user: What needs the package, as its caller knows it: ``differseg.ops``.

    Raises:
        MissingComponentError: A package of :data:`EXTRAS` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = EXTRAS.get(package)
        if extra is None:
            raise
        raise MissingComponentError(
            f"{user} needs the package '{package}', which is not installed; "
            f"install it with: pip install 'differseg[{extra}]'"
        ) from None
