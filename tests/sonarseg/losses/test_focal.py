import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.losses.cross_entropy import cross_entropy
from sonarseg.losses.focal import focal


def batch(seed, num_classes=4):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, num_classes, 4, 3, generator=generator)
    target = torch.randint(0, num_classes, (2, 4, 3), generator=generator)
    target[1, 0] = 255
    return logits, target


def by_hand(logits, target, gamma, alpha):
    """The definition in float64 numpy, pixel by pixel."""
    values = logits.double().numpy()
    total, pixels = 0.0, 0
    for b, y, x in np.ndindex(*target.shape):
        label = int(target[b, y, x])
        if label == 255:
            continue
        exponentials = np.exp(values[b, :, y, x])
        p = exponentials[label] / exponentials.sum()
        total -= alpha[label] * (1 - p) ** gamma * math.log(p)
        pixels += 1
    return total / pixels


@given(
    seed=st.integers(0, 10_000),
    gamma=st.floats(0, 5),
    alpha=st.lists(st.floats(0.01, 10), min_size=4, max_size=4),
)
@settings(deadline=None, max_examples=30)
def test_equals_the_definition(seed, gamma, alpha):
    logits, target = batch(seed)
    value = focal(logits, target, gamma=gamma, alpha=torch.tensor(alpha))
    assert value.item() == pytest.approx(by_hand(logits, target, gamma, alpha), rel=1e-4)


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_gamma_zero_is_cross_entropy(seed):
    logits, target = batch(seed)
    torch.testing.assert_close(focal(logits, target, gamma=0.0), cross_entropy(logits, target))


def test_published_values_of_monai():
    """MONAI 1.x tests/losses/test_focal_loss.py, use_softmax=True: .16276, and .08138 with alpha .8.

    MONAI also divides by the number of classes, here 3; its alpha is 1 - alpha for class 0 and
    alpha for the others.
    """
    channel = torch.tensor([[1.0, 1.0], [0.5, 0.0]])
    logits = channel.expand(1, 3, 2, 2)
    target = torch.tensor([[[0, 1], [2, 0]]])
    assert focal(logits, target, gamma=2.0).item() / 3 == pytest.approx(0.16276, abs=1e-5)
    alpha = torch.tensor([0.2, 0.8, 0.8])
    assert focal(logits, target, gamma=2.0, alpha=alpha).item() / 3 == pytest.approx(0.08138, abs=1e-5)


@pytest.mark.parametrize("gamma", [1e-3, 0.1, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("lead", [0.0, 1.0, 15.0, 17.0, 40.0, 103.0, 110.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_up_to_p_equal_one(gamma, lead, dtype):
    logits = torch.zeros(1, 2, 1, 1, dtype=dtype)
    logits[0, 0] = lead
    logits.requires_grad_()
    focal(logits, torch.zeros(1, 1, 1, dtype=torch.int64), gamma=gamma).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().max() < 1


@given(seed=st.integers(0, 10_000), gamma=st.floats(0, 4), more=st.floats(0, 1))
@settings(deadline=None, max_examples=20)
def test_more_focus_never_costs_more(seed, gamma, more):
    logits, target = batch(seed)
    assert focal(logits, target, gamma=gamma + more) <= focal(logits, target, gamma=gamma) * (1 + 1e-5)
