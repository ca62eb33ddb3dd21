import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.losses.cross_entropy import cross_entropy


@given(seed=st.integers(0, 10_000), in_order=st.booleans())
@settings(deadline=None, max_examples=25)
def test_equals_torch_where_a_pixel_is_labelled(seed, in_order):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 3, 5, generator=generator)
    target = torch.randint(0, 4, (2, 3, 5), generator=generator)
    target[0, :, 2:] = 255
    expected = F.cross_entropy(logits, target, ignore_index=255)
    torch.use_deterministic_algorithms(in_order)
    try:
        found = cross_entropy(logits, target)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(found, expected)


def test_a_class_that_the_logits_lack_is_an_error():
    with pytest.raises(IndexError):
        cross_entropy(torch.randn(1, 2, 2, 2), torch.full((1, 2, 2), 7))
