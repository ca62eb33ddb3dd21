"""Confusions counted on the device are those of the metrics package."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from sonarseg.metrics.confusion import confusion
from sonarseg.training.branch_loss import BinaryLoss
from sonarseg.training.config import RunConfig
from sonarseg.training.data.loading import load_run_data, new_model
from sonarseg.training.validation import batch_confusions, validate


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


class Copies(TorchFunctionMode):
    """Counts what makes a CUDA device wait: copies to a device, and indices given as lists.

    The labelled classes lie on the device already.
    """

    def __init__(self, labelled: torch.Tensor) -> None:
        super().__init__()
        self.labelled = labelled
        self.count = 0

    def __torch_function__(self, called: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        indexed = called in (torch.Tensor.__setitem__, torch.Tensor.__getitem__)
        to_device = called is torch.Tensor.to and isinstance(arguments[1], torch.device)
        to_device = to_device and arguments[0] is not self.labelled
        self.count += to_device or (indexed and isinstance(arguments[1], list))
        return called(*arguments, **(named or {}))


def test_batches_give_the_same_figures_without_a_copy_each(tmp_path: Path, tiny_config: RunConfig) -> None:
    data = load_run_data(tmp_path, tiny_config)
    model, _ = new_model(tmp_path, tiny_config, data)
    found, counts = [], []
    for batch_size in (4, 3, 1):
        with Copies(data.labelled) as copies:
            found.append(
                validate(model, data.val, data.val_masks, None, BinaryLoss(data.labelled), batch_size)
            )
        counts.append(copies.count)
    assert counts == [counts[0]] * 3
    for validation in found[1:]:
        np.testing.assert_array_equal(validation.confusions, found[0].confusions)
        np.testing.assert_allclose(validation.class_scores, found[0].class_scores, atol=1e-5)
        np.testing.assert_allclose(validation.loss_classification, found[0].loss_classification, rtol=1e-5)


def test_a_prediction_cut_to_the_labels_holds_their_classes_alone(
    tmp_path: Path, tiny_config: RunConfig
) -> None:
    data = load_run_data(tmp_path, tiny_config)
    model, _ = new_model(tmp_path, tiny_config, data)
    shown = data.val.shown.copy()
    shown[0] = False
    val = replace(data.val, shown=shown)
    plain = validate(model, val, data.val_masks, None, BinaryLoss(data.labelled), 4)
    found = validate(model, val, data.val_masks, None, BinaryLoss(data.labelled), 4, restrict_to_shown=True)
    assert plain.confusions_shown is None
    np.testing.assert_array_equal(found.confusions, plain.confusions)
    cut = found.confusions_shown
    assert cut is not None
    np.testing.assert_array_equal(cut.sum(axis=2), plain.confusions.sum(axis=2))
    assert not np.trace(cut[0]), "a tile without any shown class has nothing right"
    outside = 0
    for tile in range(1, len(val)):
        assert not cut[tile][:, ~shown[tile]].any()
        outside += plain.confusions[tile][:, ~shown[tile]].sum()
        if shown[tile].sum() == 1:
            assert np.trace(cut[tile]) == cut[tile].sum()
        # What was among the shown classes before stays what it was.
        kept = plain.confusions[tile][:, shown[tile]]
        assert (cut[tile][:, shown[tile]] >= kept).all()
    assert outside > 0


def test_without_tiles_there_is_no_loss(tmp_path: Path, tiny_config: RunConfig) -> None:
    data = load_run_data(tmp_path, tiny_config)
    model, _ = new_model(tmp_path, tiny_config, data)
    val = replace(data.val, names=(), shown=data.val.shown[:0])
    found = validate(
        model, val, data.val_masks, torch.nn.functional.cross_entropy, BinaryLoss(data.labelled), 4
    )
    assert (found.loss_segmentation, found.loss_classification) == (None, None)
