"""Load every package of requirements.txt and every module of the runtime, and say what it is."""

import importlib
import pkgutil
import platform
import ssl
import sys
from importlib.metadata import version

import differseg.runtime

PACKAGES = {
    "numpy": "numpy",
    "rich": "rich.console",
    "onnxruntime": "onnxruntime",
    "onnx": "onnx",
    "cryptography": "cryptography.hazmat.primitives.asymmetric.ed25519",
    "starlette": "starlette.applications",
    "uvicorn": "uvicorn",
    "websockets": "websockets",
    "prometheus_client": "prometheus_client",
    "opencv-python-headless": "cv2",
}
ELSEWHERE = ("tensorrt", "rclpy", "cuda", "openvino")
"""What comes with JetPack or ROS, or is an extra."""

for module in PACKAGES.values():
    importlib.import_module(module)
count = 0
for found in pkgutil.walk_packages(differseg.runtime.__path__, "differseg.runtime."):
    try:
        importlib.import_module(found.name)
        count += 1
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ELSEWHERE:
            raise
        print(f"{found.name}: needs {error.name}")
assert "torch" not in sys.modules
named = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
print(
    f"Python {platform.python_version()}, {platform.machine()}, {ssl.OPENSSL_VERSION}: "
    f"{count} modules of the runtime load; {named}"
)
