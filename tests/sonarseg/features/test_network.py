"""The network on frozen features: what learns, and what it is trained on."""

import numpy as np
import pytest
import torch

from sonarseg.features.encoder import FeatureSettings, pretrained_encoder
from sonarseg.features.extract import FeatureExtractor
from sonarseg.features.network import DRAWN_CELLS, FrozenNetwork

SETTINGS = FeatureSettings("efficientnet_lite0", cell=4)


@pytest.fixture(scope="module")
def network() -> FrozenNetwork:
    torch.manual_seed(0)
    network = FrozenNetwork(SETTINGS, num_classes=3, hidden=16)
    network.encoder.fill("imagenet")
    return network.eval()


def test_a_picture_and_its_stored_features_are_the_same_to_the_heads(network: FrozenNetwork) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, 42, 55), dtype=np.uint8)
    stored = FeatureExtractor(pretrained_encoder(SETTINGS))(picture)
    network.standardise.fit([stored])
    with torch.inference_mode():
        seen = network.encode(torch.from_numpy(picture)[None] / 255)
        known = network.standardised(torch.from_numpy(stored).permute(2, 0, 1)[None])
        assert network.decode(seen, (42, 55)).shape == (1, 3, 42, 55)
        assert network.classify(seen).shape == (1, 3)
    torch.testing.assert_close(seen, known, atol=1e-3, rtol=1e-3)


def test_only_the_heads_learn(network: FrozenNetwork) -> None:
    (group,) = network.parameter_groups(1e-3, head_factor=2)
    heads = [*network.class_activation.parameters(), *network.decoder.parameters()]
    assert {id(p) for p in group["params"]} == {id(p) for p in heads}
    assert group["lr"] == 2e-3


def test_the_branch_is_trained_on_drawn_cells_and_used_on_all(network: FrozenNetwork) -> None:
    features = torch.randn(2, network.encoder.channels, 20, 20)
    assert network.cell_logits(features).shape == (2, 3, 20, 20)
    network.train()
    try:
        torch.manual_seed(1)
        first = network.cell_logits(features)
        second = network.cell_logits(features)
        few = network.cell_logits(features[:, :, :10])
    finally:
        network.eval()
    assert first.shape == (2, 3, DRAWN_CELLS, 1)
    assert not torch.equal(first, second)
    assert few.shape == (2, 3, 10, 20)


def test_the_decoder_sees_the_cells_around(network: FrozenNetwork) -> None:
    features = torch.randn(1, network.encoder.channels, 15, 15)
    changed = features.clone()
    changed[:, :, 7, 7] += 5
    with torch.inference_mode():
        moved = (network.decoder(features) != network.decoder(changed)).any(dim=1)[0]
        branch = (network.cell_logits(features) != network.cell_logits(changed)).any(dim=1)[0]
    # A 3 x 3 convolution and one dilated by 3
    assert moved[3:12, 3:12].any() and not moved[:3].any() and not moved[12:].any()
    assert branch.sum() == 1


def test_the_branch_may_have_a_width_of_its_own() -> None:
    network = FrozenNetwork(SETTINGS, num_classes=3, hidden=16, branch_hidden=24)
    assert network.class_activation[1].out_channels == 24
    assert network.decoder.classifier.in_channels == 16


def test_half_precision_around_it_changes_no_features(network: FrozenNetwork) -> None:
    images = torch.rand(1, 1, 40, 44, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        alone = network.encode(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            within = network.encode(images)
    assert torch.equal(alone, within)
