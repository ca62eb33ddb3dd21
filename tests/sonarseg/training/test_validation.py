"""Confusions counted on the device are those of the metrics package."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.metrics.confusion import confusion
from sonarseg.training.validation import batch_confusions


@given(seed=st.integers(0, 10_000), num_classes=st.integers(1, 5), batch=st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_counts_of_a_batch_are_those_of_its_tiles(seed: int, num_classes: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, (batch, 5, 6), dtype=np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    predicted = rng.integers(0, num_classes, truth.shape)
    found = batch_confusions(torch.from_numpy(truth), torch.from_numpy(predicted), num_classes)
    for index in range(batch):
        expected = confusion(truth[index], predicted[index], num_classes)
        np.testing.assert_array_equal(found[index].numpy(), expected)
