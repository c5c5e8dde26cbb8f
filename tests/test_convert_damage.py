"""Published checkpoints with damage, with odd kinds of numbers, or that contradict themselves."""

from __future__ import annotations

import importlib.util
import warnings

import pytest
import torch

from differseg.checkpoint_files import read_snapshot
from differseg.errors import CheckpointError

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs the extra 'timm'"),
]


def test_one_wrong_byte_of_an_archive_is_found(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"weight": torch.full((64,), 3.0)}, path)
    whole = path.read_bytes()
    at = whole.index(torch.full((4,), 3.0).numpy().tobytes())
    path.write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
    with pytest.raises(CheckpointError, match=r"a\.pth: damaged, the checksum of 'a/data/0' does"):
        read_snapshot(path)


def test_an_archive_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"weight": torch.ones(3)}, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_snapshot(tmp_path / "a.pth").tensors["weight"].tolist() == [1, 1, 1]


def test_a_nested_tensor_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the kind is a prototype
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    torch.save({"weight": nested}, tmp_path / "a.pth")
    with pytest.raises(
        CheckpointError, match="entry 'weight' is a nested tensor; expected a dense"
    ):
        read_snapshot(tmp_path / "a.pth")
