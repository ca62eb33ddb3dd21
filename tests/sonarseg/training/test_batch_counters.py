"""Counters of batch normalisation: added to together, with the count that each layer would have kept."""

import pytest
import torch

from sonarseg.training.batch_counters import counted_together
from sonarseg.training.checkpoint.model import build_network
from sonarseg.training.config import NetworkConfig


def test_counters_and_statistics_are_those_of_layers_that_count_themselves() -> None:
    torch.manual_seed(0)
    plain = build_network(NetworkConfig(stages=2, decoder_channels=8), 1, 3).train()
    together = build_network(NetworkConfig(stages=2, decoder_channels=8), 1, 3).train()
    together.load_state_dict(plain.state_dict())
    pictures = torch.rand(3, 2, 1, 32, 32)
    for picture in pictures:
        plain.encode(picture)
    with counted_together(together) as steps:
        for picture in pictures:
            assert not any(name.endswith("num_batches_tracked") for name, _ in together.named_buffers())
            together.encode(picture)
            steps.count += 1
    expected, found = plain.state_dict(), together.state_dict()
    assert expected.keys() == found.keys()
    encoder = [name for name in expected if name.startswith("encoder")]
    assert int(found["encoder.bn1.num_batches_tracked"]) == 3
    assert all(torch.equal(expected[name], found[name]) for name in encoder)


def test_an_epoch_that_ends_early_leaves_the_counters_in_place() -> None:
    network = build_network(NetworkConfig(stages=2, decoder_channels=8), 1, 3).train()
    names = list(network.state_dict())
    with pytest.raises(KeyboardInterrupt), counted_together(network) as steps:
        steps.count += 1
        raise KeyboardInterrupt
    assert list(network.state_dict()) == names
    assert int(network.state_dict()["encoder.bn1.num_batches_tracked"]) == 1


def test_layers_in_evaluation_do_not_count() -> None:
    network = build_network(NetworkConfig(stages=2, decoder_channels=8), 1, 3).eval()
    with counted_together(network) as steps:
        steps.count += 1
    assert int(network.state_dict()["encoder.bn1.num_batches_tracked"]) == 0
