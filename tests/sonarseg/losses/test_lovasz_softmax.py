from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.losses.lovasz_softmax import lovasz_softmax


def jaccard_loss(truth, predicted):
    """One minus intersection over union of two sets of pixels."""
    union = truth | predicted
    return 1 - Fraction(len(truth & predicted), len(union)) if union else Fraction(0)


def lovasz_extension(errors, truth):
    """Equation 8 of arXiv 1705.08790: sum of m_pi(i) * (loss of the first i wrong - of the first i - 1).

    `errors` holds m in pixel order, `truth` the pixels of the class. A set of wrong pixels means the
    prediction that has exactly those wrong: the symmetric difference with the truth.
    """
    order = sorted(range(len(errors)), key=lambda pixel: -errors[pixel])
    total, before = 0.0, Fraction(0)
    for count, pixel in enumerate(order, start=1):
        wrong = set(order[:count])
        after = jaccard_loss(truth, truth ^ wrong)
        total += errors[pixel] * float(after - before)
        before = after
    return total


def slow_lovasz_softmax(probabilities, labels, classes="present"):
    """(P, K) probabilities and P labels, plain Python."""
    losses = []
    for c in sorted(set(labels)) if classes == "present" else range(len(probabilities[0])):
        truth = {pixel for pixel, label in enumerate(labels) if label == c}
        errors = [1 - p[c] if label == c else p[c] for p, label in zip(probabilities, labels, strict=True)]
        losses.append(lovasz_extension(errors, truth))
    return sum(losses) / len(losses)


def as_pixels(logits, target):
    valid = target != 255
    return logits.softmax(dim=1).movedim(1, -1)[valid].tolist(), target[valid].tolist()


@given(
    seed=st.integers(0, 10_000),
    num_classes=st.integers(1, 5),
    ignored=st.floats(0, 0.8),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    classes=st.sampled_from(["present", "all"]),
)
@settings(deadline=None, max_examples=60)
def test_equals_the_lovasz_extension_of_the_paper(seed, num_classes, ignored, dtype, classes):
    logits, target = random_tiles(seed, num_classes, ignored, dtype)
    expected = slow_lovasz_softmax(*as_pixels(logits.double(), target), classes)
    assert lovasz_softmax(logits, target, classes=classes).item() == pytest.approx(expected, abs=1e-6)


def random_tiles(seed, num_classes, ignored, dtype):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, num_classes, 3, 4, generator=generator, dtype=dtype)
    target = torch.randint(0, num_classes, (2, 3, 4), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    target[0, 0, 0] = 0
    return logits, target


@given(
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    classes=st.sampled_from(["present", "all"]),
)
@settings(deadline=None, max_examples=30)
def test_per_image_is_the_mean_over_tiles_with_labels(seed, dtype, classes):
    logits, target = random_tiles(seed, 4, 0.3, dtype)
    none = torch.full((1, 3, 4), 255)
    logits, target = torch.cat([logits, logits[:1]]), torch.cat([target, none])
    expected = [
        slow_lovasz_softmax(*as_pixels(logits[i : i + 1].double(), target[i : i + 1]), classes)
        for i in range(2)
        if (target[i] != 255).any()
    ]
    found = lovasz_softmax(logits, target, classes=classes, per_image=True)
    assert found.item() == pytest.approx(sum(expected) / len(expected), abs=1e-6)


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("per_image", [False, True])
def test_the_compiled_rows_have_the_gradient_of_the_torch_way(classes, per_image):
    """float32 on the CPU is sorted by NumPy, float64 by torch: two ways to one gradient."""
    logits, target = random_tiles(5, 4, 0.2, torch.float32)
    target[target == 2] = 1
    gradients = []
    for dtype in (torch.float32, torch.float64):
        leaf = logits.to(dtype, copy=True).requires_grad_()
        lovasz_softmax(leaf, target, classes=classes, per_image=per_image).backward()
        gradients.append(leaf.grad.double())
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)
    assert gradients[0].abs().max() > 1e-3


@given(seed=st.integers(0, 10_000), num_classes=st.integers(2, 4))
@settings(deadline=None, max_examples=40)
def test_on_hard_predictions_it_is_one_minus_the_mean_iou_of_the_classes_present(seed, num_classes):
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randint(0, num_classes, (2, 3, 4), generator=generator)
    target = torch.randint(0, num_classes, (2, 3, 4), generator=generator)
    target[1, 2] = 255
    logits = 1e4 * torch.nn.functional.one_hot(predicted, num_classes).movedim(-1, 1).float()
    valid = target != 255
    labels, chosen = target[valid].tolist(), predicted[valid].tolist()
    losses = [
        jaccard_loss(
            {i for i, label in enumerate(labels) if label == c},
            {i for i, label in enumerate(chosen) if label == c},
        )
        for c in set(labels)
    ]
    expected = float(sum(losses) / len(losses))
    assert lovasz_softmax(logits, target).item() == pytest.approx(expected, abs=1e-6)


def test_an_absent_class_costs_nothing():
    target = torch.zeros(1, 2, 2, dtype=torch.int64)
    logits = torch.tensor([2.0, 1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    probability = logits.softmax(dim=1)[0, 0, 0, 0].item()
    # four pixels of one class, all with the error 1 - p: the loss of the first k wrong is k / 4
    assert lovasz_softmax(logits, target).item() == pytest.approx(1 - probability, abs=1e-6)


def test_the_whole_batch_is_one_set():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 3, 3, 3, generator=generator)
    target = torch.randint(0, 3, (4, 3, 3), generator=generator)
    side_by_side = torch.cat(list(logits), dim=2)[None], torch.cat(list(target), dim=1)[None]
    torch.testing.assert_close(lovasz_softmax(logits, target), lovasz_softmax(*side_by_side))


def test_precise_over_more_pixels_than_float32_differences_resolve():
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(1, 2, 700, 700, generator=generator)
    target = (torch.rand(1, 700, 700, generator=generator) < 0.3).long()
    precise = lovasz_softmax(logits.double().requires_grad_(), target)
    single = logits.requires_grad_()
    value = lovasz_softmax(single, target)
    assert value.item() == pytest.approx(precise.item(), rel=1e-5)
    value.backward()
    assert single.grad.isfinite().all()
    assert torch.count_nonzero(single.grad) > 0.99 * single.grad.numel()


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_lies_between_zero_and_one(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(1, 3, 4, 4, generator=generator)
    target = torch.randint(0, 3, (1, 4, 4), generator=generator)
    assert 0 <= lovasz_softmax(logits, target).item() <= 1 + 1e-6
