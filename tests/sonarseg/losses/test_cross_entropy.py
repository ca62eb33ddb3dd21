import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.losses.cross_entropy import cross_entropy


@given(seed=st.integers(0, 10_000), weighted=st.booleans(), in_order=st.booleans())
@settings(deadline=None, max_examples=25)
def test_equals_torch_where_a_pixel_is_labelled(seed, weighted, in_order):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 3, 5, generator=generator)
    target = torch.randint(0, 4, (2, 3, 5), generator=generator)
    target[0, :, 2:] = 255
    weights = torch.rand(4, generator=generator) + 0.1 if weighted else None
    expected = F.cross_entropy(logits, target, weight=weights, ignore_index=255)
    torch.use_deterministic_algorithms(in_order)
    try:
        found = cross_entropy(logits, target, class_weights=weights)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(found, expected)


def test_classes_of_weight_zero_alone_give_zero():
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    target = torch.zeros(1, 2, 2, dtype=torch.int64)
    value = cross_entropy(logits, target, class_weights=torch.tensor([0.0, 1.0]))
    value.backward()
    assert value.item() == 0
    assert logits.grad.isfinite().all()


def test_a_class_that_the_logits_lack_is_an_error():
    with pytest.raises(IndexError):
        cross_entropy(torch.randn(1, 2, 2, 2), torch.full((1, 2, 2), 7))
