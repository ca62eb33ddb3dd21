import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from sonarseg.losses.build import build_loss
from sonarseg.losses.config import FREQUENCY_FLOOR, LossConfig, focal_alpha
from sonarseg.losses.cross_entropy import cross_entropy

counts = st.integers(1, 9).flatmap(lambda k: arrays(np.float64, k, elements=st.floats(0, 1e6)))


@given(counts=counts, alpha=st.floats(0, 1))
def test_alpha_keeps_the_mean_weight_of_a_pixel_at_one(counts, alpha):
    frequencies = counts / max(counts.sum(), 1)
    floored = np.maximum(frequencies, FREQUENCY_FLOOR)
    floored /= floored.sum()
    weights = focal_alpha(frequencies, alpha)
    assert np.sum(floored * weights) == pytest.approx(1)
    assert np.all(np.isfinite(weights)) and np.all(weights > 0)


def test_alpha_zero_weighs_all_alike_and_one_by_inverse_frequency():
    frequencies = np.array([0.50, 0.23, 0.14, 0.13])
    assert focal_alpha(frequencies, 0) == pytest.approx(np.ones(4))
    assert focal_alpha(frequencies, 1) == pytest.approx(1 / (4 * frequencies))


def test_alpha_by_hand():
    # 0.8^-.5 = 1.1180, 0.2^-.5 = 2.2361; the sum of square roots is .8944 + .4472 = 1.3416
    assert focal_alpha(np.array([0.8, 0.2]), 0.5) == pytest.approx([0.8333, 1.6667], abs=1e-4)


def test_a_class_that_is_never_labelled_weighs_as_the_floor_does():
    weights = focal_alpha(np.array([1.0, 0.0]), 1)
    assert weights == pytest.approx([0.5 * 1.001, 0.5 * 1001])


@pytest.mark.parametrize("frequencies", [[0.5, -0.1], [np.nan, 1.0], [[0.5, 0.5]]])
def test_wrong_frequencies_are_refused(frequencies):
    with pytest.raises(ValueError, match="finite and not negative"):
        focal_alpha(np.array(frequencies), 0.5)


def test_alpha_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="outside"):
        focal_alpha(np.array([0.5, 0.5]), 1.5)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "dice"},
        {"name": "focal", "gamma": -1},
        {"name": "focal", "gamma": float("inf")},
        {"name": "focal", "alpha": 1.1},
        {"name": "focal", "beta": 1},
        {"name": "cross-entropy", "gamma": 2},
        {"name": "lovasz_softmax", "alpha": 0.5},
    ],
)
def test_wrong_settings_are_refused(values):
    with pytest.raises(ValidationError):
        LossConfig.model_validate(values)


def test_the_configuration_is_read_without_torch():
    code = "import sys, sonarseg.losses.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 4, generator=generator)
    target = torch.randint(0, 3, (2, 5, 4), generator=generator)
    target[0, 0] = 255
    return logits, target


def test_class_weighted_cross_entropy_is_focal_with_gamma_zero_and_alpha_one(batch):
    logits, target = batch
    frequencies = np.array([0.6, 0.3, 0.1])
    loss = build_loss(LossConfig(name="focal", gamma=0, alpha=1), frequencies)
    each = torch.nn.functional.cross_entropy(logits, target, ignore_index=255, reduction="none")
    weights = torch.tensor([1 / (3 * 0.6), 1 / (3 * 0.3), 1 / (3 * 0.1)])
    valid = target != 255
    expected = (each[valid] * weights[target[valid]]).mean()
    torch.testing.assert_close(loss(logits, target), expected)


@pytest.mark.parametrize("name", ["cross-entropy", "focal"])
def test_without_parameters_both_are_cross_entropy_and_need_no_frequencies(batch, name):
    loss = build_loss(LossConfig(name=name), None)
    torch.testing.assert_close(loss(*batch), cross_entropy(*batch))


def test_lovasz_softmax_is_built(batch):
    assert 0 < float(build_loss(LossConfig(name="lovasz_softmax"), None)(*batch)) < 1


def test_alpha_without_frequencies_is_refused():
    with pytest.raises(ValueError, match="needs the class frequencies"):
        build_loss(LossConfig(name="focal", alpha=0.5), None)
