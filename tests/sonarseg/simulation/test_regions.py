"""Random fields and the regions made of them, against what the theory of Gaussian smoothing says."""

import numpy as np
import pytest

from sonarseg.simulation.regions import class_fields, gaussian_field, offsets_for_shares, regions


def correlation(field: np.ndarray, lag: int) -> float:
    return float(np.corrcoef(field[:, :-lag].ravel(), field[:, lag:].ravel())[0, 1])


@pytest.mark.parametrize("length", [2.0, 5.0, 14.0])
def test_a_field_has_unit_variance_and_the_correlation_of_its_kernel(length: float) -> None:
    field = gaussian_field((800, 800), length, np.random.default_rng(0))
    assert field.var() == pytest.approx(1, abs=0.15)
    lag = round(2 * length)
    # White noise smoothed by a Gaussian of deviation s correlates as a Gaussian of deviation s * sqrt(2).
    assert correlation(field, lag) == pytest.approx(np.exp(-((lag / (2 * length)) ** 2)), abs=0.08)


def test_offsets_bring_the_shares() -> None:
    wanted = (0.5, 0.3, 0.15, 0.05)
    fields = [class_fields((120, 120), 4, 12, np.random.default_rng(i)) for i in range(6)]
    offsets = offsets_for_shares(fields, wanted)
    classes = np.stack([regions(f, offsets) for f in fields])
    np.testing.assert_allclose(np.bincount(classes.ravel(), minlength=4) / classes.size, wanted, atol=0.02)


def border_length(classes: np.ndarray) -> int:
    return int((classes[1:] != classes[:-1]).sum() + (classes[:, 1:] != classes[:, :-1]).sum())


def test_borders_are_irregular_below_the_scale_of_the_regions() -> None:
    fields = [class_fields((384, 384), 2, 120, np.random.default_rng(i)) for i in range(8)]
    fine = [border_length(regions(f, np.zeros(2))) for f in fields]
    coarse = [12 * border_length(regions(f[:, ::12, ::12], np.zeros(2))) for f in fields]
    # Seen on a grid twelve times as coarse, a smooth outline keeps its length; a ragged one loses some.
    assert sum(fine) > 1.1 * sum(coarse)
