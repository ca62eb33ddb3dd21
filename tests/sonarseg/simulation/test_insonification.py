"""The physics of the simulated sonar against geometry and published laws."""

import numpy as np
import pytest

from sonarseg.simulation.insonification import (
    cosine_of_incidence,
    ground_range,
    in_shadow,
    mean_intensity,
    speckle,
)
from sonarseg.simulation.settings import SonarSettings

SONAR = SonarSettings(altitude=8.0, first_range=5.0, pixel=0.1)


@pytest.mark.parametrize(("column", "wall"), [(100, 0.5), (150, 1.0), (60, 2.0)])
def test_a_shadow_is_as_long_as_similar_triangles_say(column: int, wall: float) -> None:
    height = np.zeros((3, 400))
    height[:, column] = wall
    at = ground_range(400, SONAR)[column]
    expected = at * wall / (SONAR.altitude - wall)
    shadow = in_shadow(height, SONAR)[1]
    assert not shadow[: column + 1].any()
    assert shadow.sum() * SONAR.pixel == pytest.approx(expected, abs=2 * SONAR.pixel)


@pytest.mark.parametrize("tilt", [-0.1, 0.0, 0.15, 0.4])
def test_a_tilted_plane_follows_lambert_in_closed_form(tilt: float) -> None:
    across = ground_range(200, SONAR)
    height = np.tile(tilt * (across - across[100]), (5, 1))
    cosine = cosine_of_incidence(height, SONAR)[2, 100]
    grazing = np.arctan2(SONAR.altitude, across[100])
    assert cosine == pytest.approx(np.sin(grazing + np.arctan(tilt)), abs=1e-9)


def test_a_flat_floor_is_even_after_time_varying_gain() -> None:
    flat = mean_intensity(np.zeros((4, 300)), np.ones((4, 300)), SONAR)
    np.testing.assert_allclose(flat, 1 + SONAR.noise_floor)


@pytest.mark.parametrize("looks", [1.0, 3.0, 8.0])
def test_speckle_varies_as_the_gamma_law_says(looks: float) -> None:
    intensity = speckle((600, 600), looks, np.random.default_rng(0))
    assert intensity.mean() == pytest.approx(1, abs=0.01)
    assert intensity.std() == pytest.approx(1 / np.sqrt(looks), rel=0.02)
