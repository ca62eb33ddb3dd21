from functools import partial

import pytest
import torch

from sonarseg.losses.cross_entropy import cross_entropy
from sonarseg.losses.focal import focal
from sonarseg.losses.lovasz_softmax import lovasz_softmax

LOSSES = {
    "cross-entropy": cross_entropy,
    "focal": partial(focal, gamma=2.0),
    "lovasz_softmax": lovasz_softmax,
    "lovasz_softmax per image": partial(lovasz_softmax, per_image=True),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
either_path = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def _tiles(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 6, 7, generator=generator, dtype=dtype)
    return logits, torch.randint(0, 4, (2, 6, 7), generator=generator)


@every_loss
@either_path
@pytest.mark.parametrize("wrong", [4, 7, 254, -1, -100, 2**40])
def test_an_id_that_is_no_class_is_refused(loss, dtype, wrong):
    logits, target = _tiles(dtype)
    target[1, 2, 3] = wrong
    with pytest.raises(IndexError, match=f"class id {wrong}, expected 0 to 3, or 255"):
        loss(logits, target)


@every_loss
@either_path
@pytest.mark.parametrize(
    "change",
    [
        lambda target: target.transpose(1, 2).contiguous(),
        lambda target: target[:, :, :-1],
        lambda target: target[:-1],
        lambda target: target[0],
        lambda target: target[:, None],
        lambda target: target.flatten(1),
    ],
    ids=["transposed", "a column short", "a tile short", "one tile", "with a channel", "flat"],
)
def test_a_target_of_another_shape_is_refused(loss, dtype, change):
    logits, target = _tiles(dtype)
    with pytest.raises(ValueError, match=r"expected \(2, 6, 7\)"):
        loss(logits, change(target))


@every_loss
@pytest.mark.parametrize("kind", [torch.float32, torch.uint8, torch.bool])
def test_a_target_of_another_type_is_refused(loss, kind):
    logits, target = _tiles(torch.float32)
    with pytest.raises(ValueError, match=r"expected torch\.int64"):
        loss(logits, target.to(kind))


@every_loss
@either_path
def test_the_ignored_id_may_lie_anywhere(loss, dtype):
    logits, target = _tiles(dtype)
    target[0, 0] = -100
    assert torch.isfinite(loss(logits, target, ignore_index=-100))
    target[0, 0] = 2
    whole = loss(logits, target)
    # An id of a class can be ignored as well.
    assert loss(logits, target, ignore_index=2) != whole


@every_loss
@either_path
@pytest.mark.parametrize("shape", [(0, 4, 6, 7), (2, 4, 0, 7)])
def test_a_batch_without_pixels_gives_zero(loss, dtype, shape):
    logits = torch.zeros(shape, dtype=dtype, requires_grad=True)
    value = loss(logits, torch.zeros((shape[0], *shape[2:]), dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None


@every_loss
@either_path
def test_a_batch_without_labels_gives_zero(loss, dtype):
    logits, target = _tiles(dtype)
    logits.requires_grad_()
    value = loss(logits, torch.full_like(target, 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None and not logits.grad.any()
