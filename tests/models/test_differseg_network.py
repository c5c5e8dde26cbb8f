from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from differseg.data.loader import make_loader
from differseg.data.synthetic_dataset import SyntheticDataset
from differseg.errors import InputError
from differseg.export import export_onnx
from differseg.losses import structure_loss
from differseg.models import create_model
from differseg.models.deployment import DeploymentModule, lowered_for_export
from differseg.models.differseg import DifferSeg
from differseg.models.spec import MODALITIES
from differseg.modules.rfb import ReceptiveFieldBlock
from differseg.training.loop import Recipe, Trainer

SIZES = [(64, 96), (96, 32)]


def inputs(spec, size_hw=(64, 96), batch=2):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(batch, m.channels, *size_hw, generator=generator) for m in spec.modalities]


def edge(task="rgbt"):
    torch.manual_seed(0)
    return create_model("differseg-edge", task=task)


@pytest.mark.parametrize("task", MODALITIES)
@pytest.mark.parametrize("size_hw", SIZES, ids=str)
def test_eval_gives_logits_of_the_input_size(task, size_hw):
    model = edge(task).eval()
    with torch.no_grad():
        outputs = model(*inputs(model.spec, size_hw))
    assert list(outputs) == ["logits"]
    assert outputs["logits"].shape == (2, 1, *size_hw)
    assert outputs["logits"].isfinite().all()


@pytest.mark.parametrize("size_hw", [(256, 320), (352, 608)], ids=str)
def test_edge_runs_at_camera_sizes(size_hw):
    model = edge().eval()
    with torch.no_grad():
        assert model(*inputs(model.spec, size_hw, 1))["logits"].shape == (1, 1, *size_hw)


def test_training_adds_three_side_outputs_and_reaches_every_parameter():
    model = edge().train()
    outputs = model(*inputs(model.spec))
    assert [tuple(x.shape) for x in outputs["aux"]] == [(2, 1, 64, 96)] * 3
    sum(x.square().mean() for x in (outputs["logits"], *outputs["aux"])).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_forward_all_gives_the_training_outputs_in_eval_mode():
    model = edge().eval()
    tensors = inputs(model.spec)
    with torch.no_grad():
        everything = model.forward_all(*tensors)
        torch.testing.assert_close(everything[0], model(*tensors)["logits"])
    assert len(everything) == 4
    assert {tuple(x.shape) for x in everything} == {(2, 1, 64, 96)}


def test_one_batch_of_both_streams_equals_two_passes_in_eval_mode():
    model = edge().double().eval()
    rgb, thermal = (x.double() for x in inputs(model.spec))
    with torch.no_grad():
        together = model._fused_levels(rgb, thermal)
        apart = [
            [
                block(level)
                for block, level in zip(
                    (model.rfb1, model.rfb2, model.rfb3, model.rfb4), levels, strict=True
                )
            ]
            for levels in (
                stream_levels(model.encoder, 0, rgb),
                stream_levels(model.encoder, 1, thermal),
            )
        ]
        fusions = (model.dpf1, model.dpf2, model.dpf3, model.dpf4)
        for got, fuse, r, m in zip(together, fusions, *apart, strict=True):
            torch.testing.assert_close(got, fuse(r, m))


def stream_levels(trunk, index, x):
    """One stream alone through its own stem and the shared body."""
    alone = copy.deepcopy(trunk)
    alone.stems = alone.stems[index : index + 1]
    return alone.forward_streams([x])


class PlainTrunk(nn.Module):
    """The least that is a trunk: one strided convolution per level, no stems."""

    channels = (4, 4, 4, 4)

    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList(
            [nn.Conv2d(3, 4, 4, stride=4), *(nn.Conv2d(4, 4, 2, stride=2) for _ in range(3))]
        )

    def forward(self, x):
        levels = []
        for step in self.steps:
            x = step(x)
            levels.append(x)
        return levels


@pytest.mark.parametrize(("batched", "updates"), [(True, 1), (False, 2)])
def test_streams_apart_in_training_update_batch_statistics_twice(batched, updates):
    torch.manual_seed(0)
    model = DifferSeg(
        edge().spec,
        PlainTrunk(),
        (8, 8, 8, 8),
        level_block=ReceptiveFieldBlock,
        align_corners=True,
        subpixel_head=False,
        keep_unused_fusion=True,
        upsampling_paths=3,
        batch_streams_in_training=batched,
    )
    model.train()(*inputs(model.spec))
    assert model.rfb1.conv_res.bn.num_batches_tracked == updates
    assert model.dpf1.fusion_net[1].num_batches_tracked == 1


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ([(1, 3, 64, 64)], "expected 2 input(s), got 1; call the network as model(rgb, thermal)"),
        ([(1, 1, 64, 64), (1, 1, 64, 64)], "'rgb': expected (N, 3, H, W), got (1, 1, 64, 64)"),
        ([(3, 64, 64), (1, 1, 64, 64)], "'rgb': expected (N, 3, H, W), got (3, 64, 64)"),
        ([(1, 3, 64, 64), (1, 3, 64, 64)], "'thermal': expected (N, 1, H, W)"),
        ([(1, 3, 65, 64), (1, 1, 65, 64)], "multiples of 32, got 65x64; resize"),
        ([(1, 3, 64, 64), (1, 1, 64, 96)], "'thermal': expected the batch and size of 'rgb'"),
        ([(2, 3, 64, 64), (1, 1, 64, 64)], "'thermal': expected the batch and size of 'rgb'"),
    ],
)
def test_wrong_inputs_are_refused_in_one_line(shapes, text):
    with pytest.raises(InputError) as caught:
        edge().eval()(*(torch.zeros(shape) for shape in shapes))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rgb_network_refuses_a_second_input():
    with pytest.raises(InputError, match=r"expected 1 input\(s\), got 2"):
        edge("rgb").eval()(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))


class FourScenes(SyntheticDataset):
    """One scene of each of four places."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return super().__getitem__(8 * index)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_four_scenes_are_learnt_by_heart_and_the_result_exports(tmp_path):
    size_hw, model = (64, 96), edge()
    scenes = FourScenes(32, seed=3, size_hw=size_hw)
    batch = next(iter(make_loader(scenes, model.spec, size_hw, 4, 0, 0, False, 0)))
    trainer = Trainer(model, Recipe(1e-2, 0, 0.9, 5, 120), torch.device("cpu"), "fp32")
    losses = []  # of the output: a side output of 2x3 pixels cannot draw the masks
    for _ in range(120):
        with torch.no_grad():
            logits = model.train()(*trainer.inputs(batch))["logits"]
        losses.append(structure_loss(logits, batch["mask"]).item())
        if losses[-1] < losses[0] / 10:
            break
        trainer.step(batch)
    assert losses[-1] < losses[0] / 10, losses[::10]
    module = DeploymentModule(model.eval())
    example = module.raw_inputs_example(size_hw)
    result = export_onnx(lowered_for_export(module, size_hw), example, tmp_path / "f.onnx")
    assert result.max_error <= 1e-5
