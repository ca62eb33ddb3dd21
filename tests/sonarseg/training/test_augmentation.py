"""Augmentations keep the shadow direction and the labels with the picture."""

import torch

from sonarseg.training.augmentation import augment
from sonarseg.training.config import SonarGeometry, TrainingConfig

PLAIN = TrainingConfig(gain_jitter=0, speckle=0)


def variants(
    sonar: SonarGeometry, training: TrainingConfig
) -> set[tuple[tuple[float, ...], tuple[int, ...]]]:
    image = torch.tensor([[[[0.1, 0.2], [0.3, 0.4]]]])
    target = torch.tensor([[[0, 1], [2, 3]]])
    generator = torch.Generator().manual_seed(0)
    found = set()
    for _ in range(40):
        moved, labels = augment(image, target, sonar, training, generator)
        assert labels is not None
        found.add((tuple(moved.flatten().mul(10).round().tolist()), tuple(labels.flatten().tolist())))
    return found


def test_only_flips_along_the_track() -> None:
    assert variants(SonarGeometry(range_axis="horizontal"), PLAIN) == {
        ((1, 2, 3, 4), (0, 1, 2, 3)),
        ((3, 4, 1, 2), (2, 3, 0, 1)),
    }
    assert variants(SonarGeometry(range_axis="vertical"), PLAIN) == {
        ((1, 2, 3, 4), (0, 1, 2, 3)),
        ((2, 1, 4, 3), (1, 0, 3, 2)),
    }


def test_tiles_of_both_sides_flip_both_ways() -> None:
    assert len(variants(SonarGeometry(both_sides=True), PLAIN)) == 4


def test_asked_for_flips_break_the_shadow_direction() -> None:
    training = PLAIN.model_copy(update={"break_shadow_direction": True})
    assert len(variants(SonarGeometry(), training)) == 4


def test_gain_and_speckle_are_multiplicative_and_stay_in_range() -> None:
    training = TrainingConfig(gain_jitter=0.5, speckle=0.3)
    generator = torch.Generator().manual_seed(0)
    images = torch.cat([torch.zeros(8, 1, 9, 9), torch.ones(8, 1, 9, 9)])
    moved, target = augment(images, None, SonarGeometry(), training, generator)
    assert target is None
    assert moved[:8].abs().max() == 0
    assert moved.min() >= 0 and moved.max() <= 1
    assert moved[8:].std() > 0.05
