"""The sort of the Lovász-Softmax loss against NumPy's."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sonarseg.losses.lovasz_numba import _sorted

ORDERS = arrays.arrays(
    np.int64,
    st.integers(0, 200),
    elements=st.one_of(st.integers(0, 3), st.integers(0, 2**31 - 1)),
)


@settings(deadline=None)  # The first example compiles.
@given(ORDERS)
def test_keys_are_sorted_and_equal_ones_stay_in_order(orders: np.ndarray) -> None:
    keys = (orders << 32) | np.arange(len(orders))
    found = _sorted(keys.copy(), np.empty_like(keys))
    np.testing.assert_array_equal(found, np.sort(keys, kind="stable"))
