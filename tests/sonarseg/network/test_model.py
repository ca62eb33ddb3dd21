import pytest
import torch
from torch import nn

from sonarseg.errors import UserError
from sonarseg.network.batch_norm import BatchNorm
from sonarseg.network.encoder import ENCODERS
from sonarseg.network.model import SegmentationNetwork


def network(encoder="resnet18", channels=1, num_classes=4, **settings):
    torch.manual_seed(0)
    return SegmentationNetwork(encoder, channels, num_classes, decoder_channels=8, **settings)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_logits_have_the_size_of_the_tile(encoder, channels):
    classes, pixels = network(encoder, channels, output_stride=8).eval()(torch.zeros(2, channels, 83, 37))
    assert classes.shape == (2, 4)
    assert pixels.shape == (2, 4, 83, 37)


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50", "mobilenet_v3_large"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 5), (64, 64)])
def test_trains_on_a_batch_of_one_of_any_size(encoder, size):
    model = network(encoder).train()
    classes, pixels = model(torch.randn(1, 1, *size))
    (classes.sum() + pixels.square().sum()).backward()
    assert classes.isfinite().all() and pixels.isfinite().all()
    assert pixels.shape[2:] == size
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("size", [(64, 64), (83, 37)])
def test_the_cam_is_exact(size):
    """Before the ReLU a map's mean over cells is the class logit."""
    model = network().eval()
    features = model.encode(torch.randn(3, 1, *size))
    maps = model.class_activation(features)
    torch.testing.assert_close(maps.mean(dim=(2, 3)), model.classify(features))
    torch.testing.assert_close(model.cam(features), maps.clamp_min(0))


def test_features_and_heads_make_up_the_forward_pass():
    model = network().eval()
    images = torch.randn(2, 1, 40, 30)
    features = model.encode(images)
    classes, pixels = model(images)
    torch.testing.assert_close(classes, model.classify(features))
    torch.testing.assert_close(pixels, model.decode(features, (40, 30)))
    assert model.decode(features, (7, 9)).shape == (2, 4, 7, 9)


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("stages", [2, 3, 4])
def test_decoder_reaches_as_far_in_pixels_at_each_stride(output_stride, stages):
    """DeepLabv3: rates 6, 12, 18 at stride 16, twice that at 8."""
    model = network(output_stride=output_stride, stages=stages)
    stride = 64 // model.encode(torch.zeros(2, 1, 64, 64)).shape[2]
    rates = [
        module.dilation[0]
        for module in model.decoder.branches.modules()
        if isinstance(module, nn.Conv2d) and module.dilation[0] > 1
    ]
    assert [rate * stride for rate in rates] == [96, 192, 288]


def test_parameter_groups_hold_every_parameter_once():
    model = network()
    encoder, heads = model.parameter_groups(1e-4, head_factor=10, weight_decay=0.01)
    listed = [id(parameter) for group in (encoder, heads) for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in model.parameters())
    assert {id(p) for p in model.encoder.parameters()} == {id(p) for p in encoder["params"]}
    assert (encoder["lr"], heads["lr"]) == pytest.approx((1e-4, 1e-3))
    assert encoder["weight_decay"] == heads["weight_decay"] == 0.01


def test_pixel_logits_are_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, pixels = network().eval()(torch.randn(1, 1, 32, 32))
    assert pixels.dtype == torch.float32


def test_learns_a_toy_task():
    """Bright above dark: a few steps on one tile must fit it."""
    model = network(num_classes=2, stages=2).train()
    images = torch.randn(2, 1, 24, 24)
    images[:, :, :12] += 3
    target = torch.zeros(2, 24, 24, dtype=torch.int64)
    target[:, 12:] = 1
    optimiser = torch.optim.AdamW(model.parameter_groups(1e-3, 10, 1e-2))
    for _ in range(25):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(images)[1], target)
        loss.backward()
        optimiser.step()
    assert float((model(images)[1].argmax(dim=1) == target).float().mean()) > 0.9


def test_an_unknown_encoder_is_refused():
    with pytest.raises(UserError, match="alexnet"):
        network("alexnet")


def test_batch_norm_of_one_value_uses_its_running_statistics():
    norm = BatchNorm(3).train()
    norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    norm.running_var.fill_(4.0)
    values = torch.tensor([3.0, 2.0, 1.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(norm(values).flatten(), torch.tensor([1.0, 0.0, -1.0]), atol=1e-4, rtol=1e-4)
    assert norm.running_var.tolist() == [4.0, 4.0, 4.0]


def test_batch_norm_of_more_values_is_torchs():
    norm, peer = BatchNorm(3).train(), nn.BatchNorm2d(3).train()
    values = torch.randn(1, 3, 1, 2)
    torch.testing.assert_close(norm(values), peer(values))
    torch.testing.assert_close(norm.running_var, peer.running_var)
