"""Which GPU and which CUDA a machine has, without any package for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract.installed import program

from differseg.runtime import gpu


def test_nvidia_smi_that_fails_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DEVICE_TREE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.find_gpu() is None
    program(tmp_path / "nvidia-smi", "raise SystemExit('no driver')")
    assert gpu.find_gpu() is None
    program(tmp_path / "nvidia-smi", "print('NVIDIA RTX A4000, 8.6, 550.1')")
    assert gpu.find_gpu() == gpu.Gpu("NVIDIA RTX A4000", "8.6", "550.1")
    program(tmp_path / "nvidia-smi", "print('Orin (nvgpu), [N/A], [N/A]')")
    (tmp_path / "compatible").write_bytes(b"nvidia,p3768\0nvidia,tegra234\0")
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    assert gpu.find_gpu() == gpu.Gpu("NVIDIA Jetson Orin Nano Developer Kit", "8.7")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('{"cuda": {"name": "CUDA SDK", "version": "12.6.68"}}', "12.6.68"),
        ("[]", None),
        ('{"cuda": 1}', None),
        ("damaged", None),
        (None, None),
    ],
)
def test_the_toolkit_is_asked_for_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, version: str | None
) -> None:
    monkeypatch.setattr(gpu, "CUDA_FOLDER", tmp_path)
    if text is not None:
        (tmp_path / "version.json").write_text(text)
    assert gpu.cuda_version() == version
