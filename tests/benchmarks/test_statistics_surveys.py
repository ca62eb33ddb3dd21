"""The simulated surveys of the statistics benchmark have the truth that they state."""

import numpy as np
import pytest
from statistics_surveys import (
    SHAPES,
    SPREAD,
    compared_sides,
    confusions_of,
    strip_effects,
    study_scores,
    true_difference,
)

from sonarseg.metrics.iou import miou, pixel_accuracy


@pytest.mark.parametrize("shape", SHAPES)
def test_effects_have_mean_0_and_deviation_1(shape: str) -> None:
    found = strip_effects(shape, (200_000,), np.random.default_rng(0))
    assert found.mean() == pytest.approx(0, abs=0.01)
    assert found.std() == pytest.approx(1, abs=0.01)
    skewness = {"normal": 0, "skewness 1": 1, "exponential": 2}[shape]
    assert ((found**3).mean()) == pytest.approx(skewness, abs=0.1)


@pytest.mark.parametrize(("metric", "score"), [("miou", miou), ("pixel_accuracy", pixel_accuracy)])
def test_the_true_difference_is_that_of_a_huge_survey(metric: str, score) -> None:
    a, b = compared_sides("exponential", 4000, 0, np.random.default_rng(1))
    assert score(a[0]) - score(b[0]) == pytest.approx(true_difference(metric), abs=0.002)


def test_studies_hold_named_random_adaptive_and_derived_settings() -> None:
    shares, named, drawn = study_scores(
        6, 0.5, 0.0, np.random.default_rng(2), named=6, drawn=50, adaptive=144
    )
    assert (named.sum(), drawn.sum()) == (6, 50)
    assert len(shares) > 200
    differences = (shares[named][:, None] - shares[drawn][None]).reshape(-1)
    assert differences.std() == pytest.approx(SPREAD, rel=0.2)
    # What a sampler proposes owes its score to the strips: equal in truth, it seems better.
    assert shares[~(named | drawn)].mean() > shares[drawn].mean()
    assert pixel_accuracy(confusions_of(shares[0])) == pytest.approx(shares[0].mean(), abs=1e-4)
