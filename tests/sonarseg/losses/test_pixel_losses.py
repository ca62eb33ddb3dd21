"""What all three pixel losses promise: no NaN, no gradient from ignored pixels, half precision."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.losses.cross_entropy import cross_entropy
from sonarseg.losses.focal import focal
from sonarseg.losses.lovasz_softmax import lovasz_softmax

LOSSES = {
    "cross-entropy": cross_entropy,
    "focal 0": partial(focal, gamma=0.0),
    "focal 0.1": partial(focal, gamma=0.1, alpha=torch.tensor([0.2, 1.0, 3.0])),
    "focal 2": partial(focal, gamma=2.0),
    "lovasz_softmax": lovasz_softmax,
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def random_batch(seed, *, ignored=0.0, dtype=torch.float32, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, 3, 4, 5, generator=generator, dtype=dtype)
    target = torch.randint(0, 3, (2, 4, 5), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    return logits.requires_grad_(), target


@every_loss
def test_ignored_pixels_only_give_zero_and_zero_gradients(loss):
    logits, target = random_batch(0)
    value = loss(logits, torch.full_like(target, 255))
    value.backward()
    assert value.item() == 0
    assert torch.count_nonzero(logits.grad) == 0


@every_loss
def test_one_labelled_pixel_is_enough(loss):
    logits, target = random_batch(1)
    only = torch.full_like(target, 255)
    only[1, 2, 3] = target[1, 2, 3]
    value = loss(logits, only)
    value.backward()
    assert value.isfinite() and value > 0
    assert torch.count_nonzero(logits.grad.abs().sum(dim=1)) == 1


@every_loss
@given(seed=st.integers(0, 10_000), ignored=st.floats(0, 0.9))
@settings(deadline=None, max_examples=15)
def test_ignored_pixels_do_not_matter(loss, seed, ignored):
    logits, target = random_batch(seed, ignored=ignored)
    other = logits.detach().clone()
    hidden = (target == 255)[:, None].expand_as(other)
    other[hidden] = 100 * torch.rand(int(hidden.sum()))
    torch.testing.assert_close(loss(logits, target), loss(other, target))


@every_loss
def test_another_ignore_index(loss):
    logits, target = random_batch(3, ignored=0.5)
    moved = target.masked_fill(target == 255, -1)
    torch.testing.assert_close(loss(logits, moved, ignore_index=-1), loss(logits, target))


@every_loss
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 30.0, 1e4]))
@settings(deadline=None, max_examples=15)
def test_gradients_are_finite_however_sure_the_network_is(loss, seed, scale):
    logits, target = random_batch(seed, scale=scale)
    value = loss(logits, target)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@every_loss
def test_gradients_agree_with_finite_differences(loss):
    logits, target = random_batch(4, ignored=0.2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (logits,))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss, dtype):
    logits, target = random_batch(5, ignored=0.2)
    half = logits.detach().to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(half, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(half.float(), target))


@every_loss
@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=10)
def test_the_order_of_pixels_does_not_matter(loss, seed):
    logits, target = random_batch(seed, ignored=0.3)
    torch.testing.assert_close(
        loss(logits.flip(0, 2, 3), target.flip(0, 1, 2)), loss(logits, target), atol=1e-6, rtol=1e-5
    )


@every_loss
def test_a_better_prediction_costs_less(loss):
    _, target = random_batch(6)
    sure = 8.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert loss(sure, target) < 0.01 < loss(torch.zeros_like(sure), target) < loss(-sure, target)
