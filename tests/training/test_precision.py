"""Device and number format come with the reason for them."""

from __future__ import annotations

import pytest
import torch

from differseg.errors import InputError, MissingComponentError
from differseg.training.precision import choose_device, choose_precision

GPU = torch.device("cuda")


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device("auto").value == "cpu"
    assert "no CUDA GPU" in choose_device("auto").reason
    with pytest.raises(MissingComponentError, match=r"--device cuda:1: .* sees 0 CUDA GPU"):
        choose_device("cuda:1")
    for wrong in ("gpu", "meta"):
        with pytest.raises(InputError, match="expected auto, cpu, cuda or cuda:N"):
            choose_device(wrong)
    assert choose_precision("auto", torch.device("cpu")).value == "fp32"
    with pytest.raises(InputError, match="needs a GPU"):
        choose_precision("amp", torch.device("cpu"))


@pytest.mark.parametrize(("has_bf16", "wanted"), [(True, "bf16"), (False, "fp16")])
def test_with_a_gpu(monkeypatch: pytest.MonkeyPatch, has_bf16: bool, wanted: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Orin")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)
    assert choose_device("auto").value == "cuda"
    assert "Orin" in choose_device("auto").reason
    assert choose_device("cuda:0").reason == "asked for"
    assert choose_precision("auto", GPU).value == choose_precision("amp", GPU).value == wanted
    assert choose_precision("fp32", GPU).value == "fp32"
