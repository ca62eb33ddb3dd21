import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.losses.classification import multilabel_soft_margin


def batch(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(5, 4, generator=generator, dtype=dtype)
    labels = (torch.rand(5, 4, generator=generator) < 0.4).to(dtype)
    return logits, labels


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=25)
def test_equals_torch(seed):
    logits, labels = batch(seed)
    torch.testing.assert_close(
        multilabel_soft_margin(logits, labels), F.multilabel_soft_margin_loss(logits, labels)
    )


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=25)
def test_classes_that_no_label_speaks_of_are_as_if_absent(seed):
    logits, labels = batch(seed)
    value = multilabel_soft_margin(logits, labels, valid=torch.tensor([True, False, True, True]))
    kept = [0, 2, 3]
    expected = F.multilabel_soft_margin_loss(logits[:, kept], labels[:, kept])
    torch.testing.assert_close(value, expected)


def test_the_background_gets_no_gradient():
    logits, labels = batch(1)
    logits.requires_grad_()
    multilabel_soft_margin(logits, labels, valid=torch.tensor([False, True, True, True])).backward()
    assert torch.count_nonzero(logits.grad[:, 0]) == 0
    assert torch.count_nonzero(logits.grad[:, 1:]) == 15


def test_no_valid_class_gives_zero_with_a_graph():
    logits, labels = batch(2)
    logits.requires_grad_()
    value = multilabel_soft_margin(logits, labels, valid=torch.zeros(4, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert torch.count_nonzero(logits.grad) == 0


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_sure_logits_give_finite_gradients(scale):
    logits, labels = batch(3)
    logits = (scale * logits).requires_grad_()
    multilabel_soft_margin(logits, labels).backward()
    assert logits.grad.isfinite().all()


def test_half_precision_is_computed_in_float32():
    logits, labels = batch(4)
    value = multilabel_soft_margin(logits.to(torch.bfloat16), labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, multilabel_soft_margin(logits.to(torch.bfloat16).float(), labels))


def test_gradients_agree_with_finite_differences():
    logits, labels = batch(5, torch.float64)
    valid = torch.tensor([True, True, False, True])
    assert torch.autograd.gradcheck(
        lambda x: multilabel_soft_margin(x, labels, valid=valid),
        (logits.requires_grad_(),),
    )
