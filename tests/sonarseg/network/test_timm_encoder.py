import sys

import pytest
import timm
import torch
from torch import nn

from sonarseg.errors import UserError
from sonarseg.network.encoder import build_encoder
from sonarseg.network.model import SegmentationNetwork
from sonarseg.network.timm_encoder import build_timm_encoder
from sonarseg.network.weights import fill_encoder

LITE0 = "efficientnet_lite0"


def randomise_batch_norms(module):
    generator = torch.Generator().manual_seed(7)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(0.1 * torch.randn(part.num_features, generator=generator))
            part.running_var.copy_(0.5 + torch.rand(part.num_features, generator=generator))


@pytest.mark.parametrize(("stages", "stage"), [(2, 2), (3, 3), (4, 4)])
@pytest.mark.parametrize("name", [LITE0, "timm:resnet18"])
def test_the_features_are_timms_own(name, stages, stage):
    """At sides of 32 n, as in training, where every map on the way has an even size."""
    torch.manual_seed(0)
    known = "tf_efficientnet_lite0" if name == LITE0 else "resnet18"
    whole = timm.create_model(known, features_only=True).eval()
    randomise_batch_norms(whole)
    encoder, features = build_timm_encoder(name, 3, 2 ** (stages + 1), stages)
    own = encoder.body.state_dict()
    encoder.eval().body.load_state_dict({key: whole.state_dict()[key] for key in own})
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = whole(images)[stage]
        assert expected.shape[1] == features
        torch.testing.assert_close(encoder(images), expected)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_computes_what_the_strided_encoder_does(output_stride):
    torch.manual_seed(1)
    strided, _ = build_timm_encoder(LITE0, 1, 32)
    randomise_batch_norms(strided)
    dense, _ = build_timm_encoder(LITE0, 1, output_stride)
    dense.eval().load_state_dict(strided.eval().state_dict())
    images = torch.randn(1, 1, 96, 64)
    step = 32 // output_stride
    with torch.inference_mode():
        fine, coarse = dense(images), strided(images)
    size = float(coarse.abs().max())
    torch.testing.assert_close(fine[:, :, ::step, ::step], coarse, atol=1e-5 * size, rtol=1e-4)


@pytest.mark.parametrize(
    "name", [LITE0, "timm:resnet18", "timm:regnetx_002", "timm:convnext_atto", "timm:vit_tiny_patch16_224"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_cells_are_the_size_over_the_stride_rounded_up(name, channels):
    encoder, features = build_encoder(name, channels, 16, 3)
    assert encoder.eval()(torch.zeros(1, channels, 83, 50)).shape == (1, features, 6, 4)


@pytest.mark.parametrize("size", [(216, 240), (131, 150), (256, 193)])
def test_a_cell_sees_the_same_pixels_whatever_the_size_of_the_tile(size):
    """Far from the borders, the features of a tile and of a larger one that it was cut from agree."""
    torch.manual_seed(3)
    encoder, _ = build_timm_encoder(LITE0, 1, 8, 2)
    whole = torch.randn(1, 1, 256, 256)
    with torch.inference_mode():
        expected = encoder.eval()(whole)
        found = encoder(whole[:, :, : size[0], : size[1]])
    rows, columns = size[0] // 8 - 6, size[1] // 8 - 6
    torch.testing.assert_close(found[:, :, :rows, :columns], expected[:, :, :rows, :columns])


@pytest.mark.parametrize("stages", [2, 3])
def test_what_a_trained_cell_speaks_of_lies_in_its_middle(stages):
    """The centre of what the features of cells depend on, with the weights of ImageNet."""
    stride = 2 ** (stages + 1)
    encoder, features = build_timm_encoder(LITE0, 3, stride, stages)
    fill_encoder(encoder.eval(), "imagenet", LITE0)
    generator = torch.Generator().manual_seed(0)
    weight = torch.zeros(192, 192)
    for _ in range(6):
        images = torch.randn(1, 3, 192, 192, generator=generator, requires_grad=True)
        cell = encoder(images)[0, :, 96 // stride, 96 // stride]
        (cell * torch.randn(features, generator=generator)).sum().backward()
        weight += images.grad[0].square().sum(dim=0)
    for axis in (0, 1):
        centre = float((weight.sum(dim=1 - axis) * torch.arange(192.0)).sum() / weight.sum())
        assert centre - 96 == pytest.approx((stride - 1) / 2, abs=stride / 4)


@pytest.mark.parametrize("size", [(1, 1), (17, 5), (64, 64)])
def test_trains_on_a_batch_of_one_of_any_size(size):
    torch.manual_seed(0)
    model = SegmentationNetwork(LITE0, 1, 3, decoder_channels=8).train()
    classes, pixels = model(torch.randn(1, 1, *size))
    (classes.sum() + pixels.square().sum()).backward()
    assert pixels.shape[2:] == size
    assert classes.isfinite().all() and pixels.isfinite().all()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_an_unknown_name_is_one_sentence():
    with pytest.raises(UserError, match=r'encoder = "timm:resnet19x" is unknown.*near it: .*resnet'):
        build_encoder("timm:resnet19x", 1, 16)


def test_an_encoder_that_gives_no_features_is_one_sentence(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("features_only not implemented for this network.")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(UserError, match=r'"timm:resnet18" gives no features \(features_only not impl'):
        build_encoder("timm:resnet18", 1, 16)


@pytest.mark.parametrize("name", [LITE0, "timm:resnet18"])
def test_without_timm_it_is_one_sentence(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"needs the package timm.*pip install timm"):
        build_encoder(name, 1, 16)
