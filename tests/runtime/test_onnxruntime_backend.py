from __future__ import annotations

from pathlib import Path

from differseg.runtime.backends import open_backend


def test_its_settings_come_with_their_reason(tiny_model: Path) -> None:
    chosen = open_backend(tiny_model, "onnxruntime", threads=1)
    assert chosen.name == "onnxruntime CPU"
    assert chosen.reason.startswith("asked for; 1 threads, asked for; idle threads sleep")
    assert "one per usable core" in open_backend(tiny_model, "onnxruntime").reason
