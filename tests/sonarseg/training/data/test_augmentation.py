"""Augmentations keep the shadow direction and the labels with the picture."""

import numpy as np
import pytest
import torch

from sonarseg.training.config import SonarGeometry, TrainingConfig
from sonarseg.training.data.augmentation import draw_augmentation

PLAIN = TrainingConfig(gain_jitter=0, speckle=0)


def augmented(
    images: torch.Tensor,
    target: torch.Tensor,
    sonar: SonarGeometry,
    training: TrainingConfig,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = draw_augmentation(images.shape, sonar, training, generator)
    return drawn.of_images(images), drawn.of_target(target)


def variants(
    sonar: SonarGeometry, training: TrainingConfig
) -> set[tuple[tuple[float, ...], tuple[int, ...]]]:
    image = torch.tensor([[[[0.1, 0.2], [0.3, 0.4]]]])
    target = torch.tensor([[[0, 1], [2, 3]]])
    generator = torch.Generator().manual_seed(0)
    found = set()
    for _ in range(40):
        moved, labels = augmented(image, target, sonar, training, generator)
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
    moved = draw_augmentation(images.shape, SonarGeometry(), training, generator).of_images(images)
    assert moved[:8].abs().max() == 0
    assert moved.min() >= 0 and moved.max() <= 1
    assert moved[8:].std() > 0.05


@pytest.mark.parametrize("sonar", [SonarGeometry(range_axis="vertical"), SonarGeometry(both_sides=True)])
def test_a_batch_is_augmented_as_its_tiles_are_one_by_one(sonar: SonarGeometry) -> None:
    generator = torch.Generator().manual_seed(1)
    images, target = torch.rand(12, 3, 7, 5), torch.randint(0, 4, (12, 7, 5))
    drawn = draw_augmentation(images.shape, sonar, TrainingConfig(), generator)
    assert drawn.speckle is not None
    moved, labels = drawn.of_images(images).numpy(), drawn.of_target(target).numpy()
    for index in range(12):
        image, label = images[index].numpy(), target[index].numpy()
        for name, chosen in drawn.flips.items():
            if chosen[index]:
                flip = np.fliplr if name == "horizontal" else np.flipud
                label = flip(label)
                image = np.stack([flip(channel) for channel in image])
        factor = float(drawn.gain[index]) * drawn.speckle[index].numpy()
        np.testing.assert_allclose(moved[index], np.clip(image * factor, 0, 1), rtol=1e-6)
        np.testing.assert_array_equal(labels[index], label)


def test_the_same_seed_draws_the_same() -> None:
    drawn = [
        draw_augmentation(
            torch.Size((4, 1, 6, 6)),
            SonarGeometry(),
            TrainingConfig(),
            torch.Generator().manual_seed(seed),
        )
        for seed in (3, 3, 4)
    ]
    first, same, other = (draw.of_images(torch.full((4, 1, 6, 6), 0.5)) for draw in drawn)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
