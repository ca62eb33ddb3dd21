import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sonarseg.network.model import SegmentationNetwork
from tests.support.one_tile_cam import extract_cam

ALL = np.array([True, True, True])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = SegmentationNetwork("resnet18", 1, 3, decoder_channels=8)
    return model.train()


class Pixelwise(nn.Module):
    """A network of stride one whose map of class c is the ReLU of (c + 1) * image - c."""

    def encode(self, images):
        return images

    def cam(self, features):
        return F.relu(torch.cat([(c + 1) * features - c for c in range(3)], dim=1))


def one_by_one(network, image, shown, scales, flips):
    """The definition, one forward pass a view, without batches."""
    size = tuple(image.shape[1:])
    axes = {"horizontal": 2, "vertical": 1}
    total = np.zeros((len(shown), *size))
    network.eval()
    for scale in scales:
        for flip in (None, *flips):
            height, width = (max(1, round(side * scale)) for side in size)
            view = F.interpolate(
                image[None], size=(height, width), mode="bilinear", align_corners=False, antialias=scale < 1
            )[0]
            if flip is not None:
                view = torch.from_numpy(np.flip(view.numpy(), axes[flip]).copy())
            with torch.no_grad():
                maps = network.cam(network.encode(view[None]))
            maps = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)[0].numpy()
            total += maps if flip is None else np.flip(maps, axes[flip])
    total[~shown] = 0
    return total / (total.max(axis=(1, 2), keepdims=True) + 1e-5)


@pytest.mark.parametrize("flips", [(), ("vertical",), ("horizontal", "vertical")])
@pytest.mark.parametrize("size", [(64, 64), (83, 41)])
def test_equals_the_definition(network, flips, size):
    image = torch.randn(1, *size, generator=torch.Generator().manual_seed(1))
    scales = (1, 0.5, 1.5, 2)
    cam = extract_cam(network, image, ALL, scales=scales, flips=flips)
    expected = one_by_one(network, image, ALL, scales, flips)
    np.testing.assert_allclose(cam, expected, atol=1e-4)


def test_by_hand_on_a_network_of_single_pixels():
    image = torch.tensor([[[0.2, 0.4], [0.8, 1.0]]])
    cam = extract_cam(Pixelwise(), image, ALL, scales=(1,), flips=("vertical",))
    # maps twice (as it is and flipped back): x, 2x - 1, 3x - 2, no less than 0; each over its maximum 2
    expected = [[[0.2, 0.4], [0.8, 1.0]], [[0, 0], [0.6, 1.0]], [[0, 0], [0.4, 1.0]]]
    np.testing.assert_allclose(cam, expected, atol=1e-4)


@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=12)
def test_scores_lie_in_zero_to_one_on_tiles_of_any_size(network, height, width, seed):
    image = torch.randn(1, height, width, generator=torch.Generator().manual_seed(seed))
    cam = extract_cam(network, image, ALL, flips=("horizontal", "vertical"))
    assert cam.dtype == np.float32 and cam.shape == (3, height, width)
    assert cam.flags.c_contiguous
    assert cam.min() >= 0 and cam.max() <= 1


@pytest.mark.parametrize("shown", [[True, False, True], [False, False, False]])
def test_classes_not_shown_score_zero(network, shown):
    image = torch.randn(1, 48, 48)
    whole = extract_cam(network, image, ALL)
    cam = extract_cam(network, image, np.array(shown))
    for c, kept in enumerate(shown):
        np.testing.assert_allclose(cam[c], whole[c] if kept else 0, atol=1e-6)


def test_background_scores_zero_and_shown_stays_as_it_is(network):
    shown = ALL.copy()
    cam = extract_cam(network, torch.randn(1, 48, 48), shown, background_id=1)
    assert cam[1].max() == 0 < cam[0].max()
    assert shown.all()


def test_a_flipped_tile_gives_flipped_scores(network):
    """Every view of the one is a view of the other, on sides that the scales leave whole."""
    image = torch.randn(1, 64, 48)
    cam = extract_cam(network, image, ALL, flips=("vertical",))
    other = extract_cam(network, image.flip(1), ALL, flips=("vertical",))
    np.testing.assert_allclose(other, cam[:, ::-1], atol=1e-4)


def test_only_allowed_flips_are_seen(network, monkeypatch):
    """A tile that is dark on the left is never shown with the dark on the right."""
    image = torch.zeros(1, 32, 32)
    image[:, :, 16:] = 1
    seen = []
    encode = network.encode
    monkeypatch.setattr(network, "encode", lambda batch: (seen.append(batch.clone()), encode(batch))[1])
    extract_cam(network, image, ALL, flips=("vertical",))
    assert [len(batch) for batch in seen] == [2, 2, 2, 2]
    assert all((batch[..., -1] > batch[..., 0]).all() for batch in seen)


def test_every_module_gets_its_mode_back(network):
    network.train()
    network.encoder.eval()
    extract_cam(network, torch.randn(1, 32, 32), ALL)
    assert network.training and network.decoder.training and not network.encoder.training
    network.train()
    with pytest.raises(RuntimeError):
        extract_cam(network, torch.randn(3, 32, 32), ALL)
    assert all(module.training for module in network.modules())


def test_the_network_stays_as_it_is_and_needs_no_gradient(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    extract_cam(network, torch.randn(1, 32, 32), ALL)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_unknown_flip_is_an_error(network):
    with pytest.raises(KeyError, match="diagonal"):
        extract_cam(network, torch.randn(1, 32, 32), ALL, flips=("diagonal",))
