"""Guide images against the formulas written out pixel by pixel."""

import numpy as np
import pytest

from sonarseg.survey.guide import guide_image

RNG = np.random.default_rng(3)
SPECKLED = np.clip(np.where(np.arange(16) < 8, 60, 160) * RNG.gamma(4, 1 / 4, (12, 16)), 0, 255).astype(
    np.uint8
)


def windows(image: np.ndarray) -> np.ndarray:
    """5 x 5 windows of a picture mirrored at its edges, (H, W, 25)."""
    padded = np.pad(image.astype(float), 2, mode="symmetric")
    height, width = image.shape
    return np.stack([padded[i : i + height, j : j + width] for i in range(5) for j in range(5)], axis=-1)


def test_raw_is_the_picture_itself() -> None:
    assert guide_image(SPECKLED, "raw") is SPECKLED


def test_median_against_windows() -> None:
    np.testing.assert_array_equal(guide_image(SPECKLED, "median"), np.median(windows(SPECKLED), axis=-1))


def test_lee_against_the_published_equations() -> None:
    seen = windows(SPECKLED)
    mean, variance = seen.mean(axis=-1), seen.var(axis=-1)
    noise = np.median(variance / mean**2)
    expected = np.empty(SPECKLED.shape)
    for pixel in np.ndindex(SPECKLED.shape):
        m, v, z = mean[pixel], variance[pixel], float(SPECKLED[pixel])
        q = max((v + m**2) / (1 + noise) - m**2, 0)
        expected[pixel] = m + q / (m**2 * noise + q) * (z - m)
    result = guide_image(SPECKLED, "lee").astype(int)
    assert np.abs(result - expected.clip(0, 255)).max() <= 0.5 + 1e-6


def test_lee_smooths_plain_speckle_and_keeps_an_edge() -> None:
    result = guide_image(SPECKLED, "lee").astype(float)
    assert result[:, :6].std() < 0.6 * SPECKLED[:, :6].std()
    assert result[:, 10:].mean() - result[:, :6].mean() > 70


def test_log_is_linear_in_the_logarithm() -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    result = guide_image(levels, "log")[0]
    assert result[0] == 0
    assert result[255] == 255
    assert result[15] == round(255 * 4 / 8)
    assert (np.diff(result.astype(int)) >= 0).all()


@pytest.mark.parametrize("kind", ["raw", "log", "median", "lee"])
def test_channels_are_filtered_one_by_one(kind: str) -> None:
    colour = np.dstack([SPECKLED, SPECKLED[::-1], SPECKLED[:, ::-1]])
    result = guide_image(colour, kind)
    assert result.shape == colour.shape
    assert result.dtype == np.uint8
    if kind in ("log", "median"):
        for channel in range(3):
            np.testing.assert_array_equal(result[..., channel], guide_image(colour[..., channel], kind))


@pytest.mark.parametrize("kind", ["raw", "log", "median", "lee"])
@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (6, 2)])
def test_flat_and_tiny_pictures_stay_flat(kind: str, value: int, shape: tuple[int, int]) -> None:
    image = np.full(shape, value, dtype=np.uint8)
    image.flags.writeable = False
    result = guide_image(image, kind)
    assert result.shape == shape
    assert len(np.unique(result)) == 1
    if kind != "log":
        assert result[0, 0] == value
