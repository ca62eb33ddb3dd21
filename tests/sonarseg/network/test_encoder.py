import pytest
import torch
import torchvision
from torch import nn

from sonarseg.errors import UserError
from sonarseg.network.encoder import ENCODERS, build_encoder


def randomise_batch_norms(module):
    """Statistics as after training, so that a mistake in the order of layers cannot hide."""
    generator = torch.Generator().manual_seed(7)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(0.1 * torch.randn(part.num_features, generator=generator))
            part.running_var.copy_(0.5 + torch.rand(part.num_features, generator=generator))


def torchvision_features(whole, images):
    for name, part in whole.named_children():
        if name in ("avgpool", "fc"):
            break
        images = part(images)
    return images


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_computes_what_the_strided_encoder_does(name, output_stride):
    """Every n-th cell of the dilated features equals a cell of torchvision's own, strided encoder."""
    torch.manual_seed(0)
    whole = getattr(torchvision.models, name)(weights=None).eval()
    randomise_batch_norms(whole)
    encoder, _ = build_encoder(name, 3, output_stride)
    encoder.eval().load_state_dict(
        {key: value for key, value in whole.state_dict().items() if not key.startswith("fc.")}
    )
    images = torch.randn(1, 3, 96, 64)
    with torch.inference_mode():
        dense, strided = encoder(images), torchvision_features(whole, images)
    step = 32 // output_stride
    assert dense.shape[2:] == (96 // output_stride, 64 // output_stride)
    size = float(strided.abs().max())
    torch.testing.assert_close(dense[:, :, ::step, ::step], strided, atol=1e-5 * size, rtol=1e-4)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_bottlenecks_equal_torchvisions_own_dilation(output_stride):
    torch.manual_seed(1)
    replaced = [False, output_stride == 8, True]
    whole = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=replaced).eval()
    encoder, _ = build_encoder("resnet50", 3, output_stride)
    encoder.eval().load_state_dict(
        {key: value for key, value in whole.state_dict().items() if not key.startswith("fc.")}
    )
    images = torch.randn(1, 3, 45, 70)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), torchvision_features(whole, images))


@pytest.mark.parametrize("stages", [2, 3, 4])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v3_large"])
def test_fewer_stages_end_where_torchvisions_encoder_passes_by(name, stages):
    """At their natural stride, where nothing is dilated, up to stride 16."""
    torch.manual_seed(2)
    whole = getattr(torchvision.models, name)(weights=None).eval()
    encoder, features = build_encoder(name, 3, 16, stages)
    own = encoder.state_dict()
    state = {key.removeprefix("features."): value for key, value in whole.state_dict().items()}
    encoder.eval().load_state_dict({key: state[key] for key in own})
    images = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        mine = encoder(images)
        assert mine.shape == (1, features, 64 // min(16, 2 ** (stages + 1)), 32 // min(16, 2 ** (stages + 1)))
        if stages < 4:
            passing = images
            for part in list((whole.features if "mobilenet" in name else whole).children())[: len(encoder)]:
                passing = part(passing)
            torch.testing.assert_close(mine, passing)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_cells_are_the_size_over_the_stride_rounded_up(name, channels, output_stride):
    encoder, features = build_encoder(name, channels, output_stride)
    shape = encoder.eval()(torch.zeros(1, channels, 83, 50)).shape
    assert shape == (1, features, -(-83 // output_stride), -(-50 // output_stride))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_large"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_cell_looks_at_the_pixels_around_its_index_times_the_stride(name, output_stride):
    """The centre of the receptive field, all weights alike, where no border cuts it."""
    encoder, _ = build_encoder(name, 1, output_stride, stages=3)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    if hasattr(encoder, "maxpool"):  # among equal pixels the maximum would always be the first
        encoder.maxpool = nn.AvgPool2d(3, stride=2, padding=1)
    images = torch.ones(1, 1, 513, 513, requires_grad=True)
    cell = 256 // output_stride
    encoder.eval()(images)[0, 0, cell, cell].backward()
    weight = images.grad[0, 0].abs()
    rows = torch.arange(513.0)
    assert float((weight.sum(dim=1) * rows).sum() / weight.sum()) == pytest.approx(256, abs=1.5)
    assert float((weight.sum(dim=0) * rows).sum() / weight.sum()) == pytest.approx(256, abs=1.5)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [(("vgg16", 1, 16), "vgg16"), (("resnet18", 1, 32), "32"), (("resnet18", 1, 16, 1), "stages = 1")],
)
def test_what_is_not_offered_is_refused(arguments, value):
    with pytest.raises(UserError, match=value):
        build_encoder(*arguments)
