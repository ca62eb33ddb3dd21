"""Textures of the classes in metres and pixels."""

import numpy as np
import pytest
from scipy.ndimage import label

from sonarseg.simulation.insonification import in_shadow, mean_intensity
from sonarseg.simulation.settings import CLASSES, SeaFloor, SonarSettings
from sonarseg.simulation.terrain import terrain

FLOOR, SONAR = SeaFloor(), SonarSettings()
MUD, RIPPLES, ROCK, SEAGRASS = range(len(CLASSES))


def of_one_class(number: int, seed: int = 0, size: int = 192) -> tuple[np.ndarray, np.ndarray]:
    mask = np.full((size, size), number, np.uint8)
    return terrain(mask, FLOOR, SONAR.pixel, np.random.default_rng(seed))


@pytest.mark.parametrize("size", [96, 256])
def test_ripples_have_their_wavelength_whatever_the_size(size: int) -> None:
    height, _ = of_one_class(RIPPLES, size=size)
    spectrum = (
        np.abs(np.fft.fft2((height - height.mean()) * np.outer(np.hanning(size), np.hanning(size)))) ** 2
    )
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    band = (frequency > 0.04) & (frequency < 0.2)
    wavelength = 1 / np.average(frequency[band], weights=spectrum[band])
    assert wavelength * SONAR.pixel == pytest.approx(FLOOR.ripple_length, rel=0.2)
    assert 6 <= wavelength <= 10


def test_rock_and_seagrass_cast_shadows_and_mud_does_not() -> None:
    hidden = [in_shadow(of_one_class(number)[0], SONAR).mean() for number in range(len(CLASSES))]
    assert hidden[MUD] == 0
    assert hidden[ROCK] > 0.01 and hidden[SEAGRASS] > 0.01


def test_shadows_of_rock_are_several_pixels_long() -> None:
    shadow = in_shadow(of_one_class(ROCK)[0], SONAR)
    pieces, _ = label(shadow, structure=[[0, 0, 0], [1, 1, 1], [0, 0, 0]])
    lengths = np.bincount(pieces.ravel())[1:]
    assert 4 < np.percentile(lengths, 90) < 40


def test_mean_echoes_differ_moderately_between_classes() -> None:
    echoes = [
        np.sqrt(np.mean([mean_intensity(*of_one_class(number, seed), SONAR).mean() for seed in range(4)]))
        for number in range(len(CLASSES))
    ]
    assert min(echoes) > 0.4 and max(echoes) < 2.5


def test_backscatter_of_a_class_is_its_strength_within_the_spread() -> None:
    levels = [of_one_class(MUD, seed, size=24)[1].mean() for seed in range(200)]
    assert np.mean(np.log(levels)) == pytest.approx(np.log(FLOOR.strength[MUD]), abs=0.03)
    assert np.std(np.log(levels)) == pytest.approx(FLOOR.strength_spread, rel=0.15)
