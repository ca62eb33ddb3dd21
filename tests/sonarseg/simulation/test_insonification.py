"""The physics of the simulated sonar against geometry and published laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln

from sonarseg.simulation.insonification import (
    cosine_of_incidence,
    ground_range,
    in_shadow,
    mean_intensity,
    record,
    residual_gain,
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


def line_of_sight_is_blocked(relief: np.ndarray, column: int) -> bool:
    """Walk the straight ray from the sonar to one pixel and compare heights on the way."""
    across = ground_range(len(relief), SONAR)
    for nearer in range(column):
        part = across[nearer] / across[column]
        ray = SONAR.altitude + part * (relief[column] - SONAR.altitude)
        if relief[nearer] > ray + 1e-9:
            return True
    return False


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_shadows_are_where_the_straight_line_to_the_sonar_is_blocked(seed: int) -> None:
    relief = np.random.default_rng(seed).gamma(0.3, 1.0, 60)
    expected = [line_of_sight_is_blocked(relief, column) for column in range(60)]
    np.testing.assert_array_equal(in_shadow(relief[None], SONAR)[0], expected)


@pytest.mark.parametrize("tilt", [-0.1, 0.0, 0.15, 0.4])
def test_a_tilted_plane_follows_lambert_in_closed_form(tilt: float) -> None:
    across = ground_range(200, SONAR)
    height = np.tile(tilt * (across - across[100]), (5, 1))
    cosine = cosine_of_incidence(height, SONAR)[2, 100]
    grazing = np.arctan2(SONAR.altitude, across[100])
    assert cosine == pytest.approx(np.sin(grazing + np.arctan(tilt)), abs=1e-9)


@pytest.mark.parametrize("along", [-0.5, 0.3])
@pytest.mark.parametrize("across", [-0.1, 0.2])
def test_incidence_on_a_plane_tilted_both_ways_is_the_angle_between_two_vectors(
    along: float, across: float
) -> None:
    rows = SONAR.pixel * (np.arange(9) - 4)
    columns = ground_range(50, SONAR)
    height = along * rows[:, None] + across * (columns - columns[25])
    normal = np.cross([0, 1, along], [1, 0, across])
    normal = normal * np.sign(normal[2])
    to_sonar = np.array([-columns[25], 0, SONAR.altitude])
    expected = normal @ to_sonar / np.linalg.norm(normal) / np.linalg.norm(to_sonar)
    # Axes of the vectors: range, track, up
    assert cosine_of_incidence(height, SONAR)[4, 25] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("tilt", [-0.1, 0.15, 0.4])
def test_echoes_of_a_tilted_plane_rise_with_the_square_of_the_cosine(tilt: float) -> None:
    across = ground_range(200, SONAR)
    height = np.tile(tilt * (across - across[100]), (5, 1))
    seen = mean_intensity(height, np.full((5, 200), 1.7), SONAR)[2, 100]
    grazing = np.arctan2(SONAR.altitude, across[100])
    expected = 1.7 * np.sin(grazing + np.arctan(tilt)) ** 2 / np.sin(grazing) ** 2
    assert seen == pytest.approx(expected + SONAR.noise_floor, rel=1e-9)


def test_a_flat_floor_is_even_after_time_varying_gain() -> None:
    flat = mean_intensity(np.zeros((4, 300)), np.ones((4, 300)), SONAR)
    np.testing.assert_allclose(flat, 1 + SONAR.noise_floor)


@pytest.mark.parametrize("looks", [1.0, 3.0, 8.0])
def test_speckle_varies_as_the_gamma_law_says(looks: float) -> None:
    intensity = speckle((600, 600), looks, np.random.default_rng(0))
    assert intensity.mean() == pytest.approx(1, abs=0.01)
    assert intensity.std() == pytest.approx(1 / np.sqrt(looks), rel=0.02)


def test_a_recorded_flat_floor_has_the_spread_of_the_square_root_of_gamma() -> None:
    sonar = SonarSettings(residual_gain=0, ping_gain=0)
    picture = record(np.zeros((400, 400)), np.ones((400, 400)), sonar, np.random.default_rng(1)).astype(float)
    looks = sonar.looks
    # Mean amplitude of the Nakagami law, the root of a Gamma variable of mean one
    mean = np.exp(gammaln(looks + 0.5) - gammaln(looks)) / np.sqrt(looks)
    assert picture.std() / picture.mean() == pytest.approx(np.sqrt(1 - mean**2) / mean, rel=0.02)
    assert picture.mean() == pytest.approx(
        sonar.grey_of_mud * mean * np.sqrt(1 + sonar.noise_floor), rel=0.01
    )


def test_residual_gain_is_small_smooth_and_as_large_as_stated() -> None:
    gains = [np.log(residual_gain((240, 192), SONAR, np.random.default_rng(i))) for i in range(40)]
    assert np.std(gains) == pytest.approx(0.9 * SONAR.residual_gain, rel=0.2)
    jumps_along_range = np.std(np.diff(gains, axis=2))
    assert jumps_along_range < 0.1 * np.std(gains)
