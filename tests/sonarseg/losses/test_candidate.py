"""The candidate-set loss against a definition in plain loops, its ramps and its limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonarseg.losses.candidate import (
    PRESENCE_FLOOR,
    candidate,
    class_top_shares,
    log_shown_shares,
    top_means,
)

SHARES = (0.3, 0.15, 0.5)
LOG_SHARES = torch.tensor([-0.1, -1.2, -2.5], dtype=torch.float64)


def softmax(values: list[float]) -> list[float]:
    weights = [math.exp(value - max(values)) for value in values]
    return [weight / sum(weights) for weight in weights]


def by_loops(
    logits: np.ndarray, shown: np.ndarray, log_shares: list[float], shares: tuple[float, ...], u: float
) -> float:
    """The formula, cell by cell; every tile shows a class."""
    tiles, classes, cells = logits.shape
    in_the_set, sharp, presence = [], [], []
    for tile in range(tiles):
        mask = [0.0 if shown[tile, c] else -30.0 for c in range(classes)]
        restricted = []
        for cell in range(cells):
            z = [float(logits[tile, c, cell]) for c in range(classes)]
            lp = [math.log(p) for p in softmax([z[c] + log_shares[c] for c in range(classes)])]
            in_the_set.append(math.log(sum(math.exp(lp[c] + mask[c]) for c in range(classes))))
            t = softmax([(z[c] + mask[c]) / 0.5 for c in range(classes)])
            sharp.append(sum(t[c] * lp[c] for c in range(classes)))
            restricted.append(softmax([z[c] + mask[c] for c in range(classes)]))
        for c in range(classes):
            if shown[tile, c]:
                count = max(1, int(shares[c] * cells))
                best = sorted((r[c] for r in restricted), reverse=True)[:count]
                presence.append(math.log(max(1e-4, sum(best) / count)))
    ramp, sharpening = min(1, 2 * u), 0.5 * min(1, max(0, (u - 0.25) / 0.2))
    return (
        -sum(in_the_set) / len(in_the_set)
        - ramp * sum(presence) / len(presence)
        - sharpening * sum(sharp) / len(sharp)
    )


def drawn(seed: int, spread: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn((4, 3, 13), generator=generator, dtype=torch.float64)
    shown = torch.rand((4, 3), generator=generator) < 0.5
    shown[torch.arange(4), torch.randint(3, (4,), generator=generator)] = True
    return logits, shown


@given(seed=st.integers(0, 10_000), progress=st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_equals_the_definition(seed: int, progress: float) -> None:
    logits, shown = drawn(seed)
    found = candidate(logits, shown, LOG_SHARES, SHARES, progress)
    expected = by_loops(logits.numpy(), shown.numpy(), LOG_SHARES.tolist(), SHARES, progress)
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.8])
def test_gradients_are_those_of_differences(progress: float) -> None:
    """The targets of the third term have no gradient: it is checked with them held."""
    logits, shown = drawn(3, spread=1.0)
    held = ((logits - 30.0 * ~shown[:, :, None]) / 0.5).softmax(dim=1)

    def loss(z: torch.Tensor) -> torch.Tensor:
        rest = candidate(z, shown, LOG_SHARES, SHARES, min(progress, 0.25))
        # Beyond a quarter the ramp of presence goes on.
        weight = min(1.0, 2 * progress) / min(1.0, 2 * min(progress, 0.25)) if progress else 1.0
        plain = candidate(z, shown, LOG_SHARES, SHARES, 0.0)
        lp = (z + LOG_SHARES[:, None]).log_softmax(dim=1)
        sharpening = 0.5 * min(1.0, max(0.0, (progress - 0.25) / 0.2))
        return plain + weight * (rest - plain) - sharpening * (held * lp).sum(dim=1).mean()

    z = logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (z,))
    (expected,) = torch.autograd.grad(loss(z), z)
    (found,) = torch.autograd.grad(candidate(z, shown, LOG_SHARES, SHARES, progress), z)
    torch.testing.assert_close(found, expected)


def test_the_ramps_at_their_borders() -> None:
    logits, shown = drawn(5)

    def at(progress: float) -> float:
        return candidate(logits, shown, LOG_SHARES, SHARES, progress).item()

    start, quarter, full = at(0.0), at(0.25), at(1.0)
    assert at(0.125) - start == pytest.approx((quarter - start) / 2)
    # The third term begins after a quarter; from .45 on it stays, as the second does from .5 on.
    presence = 2 * (quarter - start)
    sharpening = full - start - presence
    assert sharpening > 0
    assert at(0.35) == pytest.approx(start + 0.7 * presence + sharpening / 2)
    assert at(0.45) == pytest.approx(start + 0.9 * presence + sharpening)
    assert at(0.5) == pytest.approx(full) == at(0.75)


def test_presence_is_clamped_and_pulls_no_further_below() -> None:
    """A shown class that wins nowhere costs -log of the floor, and the term no longer pulls it up."""
    even, shown = torch.zeros(2, dtype=torch.float64), torch.ones((1, 2), dtype=torch.bool)
    for lost, clamped in ((-9.0, False), (-9.5, True)):
        z = torch.zeros((1, 2, 10), dtype=torch.float64)
        z[:, 1] = lost
        z.requires_grad_()
        with_term, without = (candidate(z, shown, even, (0.3, 0.3), u) for u in (0.25, 0.0))
        term = 2 * (with_term - without)
        win, lose = (math.log(part / (1 + math.exp(lost))) for part in (1.0, math.exp(lost)))
        assert term.item() == pytest.approx(-(win + max(math.log(PRESENCE_FLOOR), lose)) / 2)
        (gradient,) = torch.autograd.grad(term, z)
        assert (gradient[:, 1].sum() >= 0) == clamped


@given(seed=st.integers(0, 10_000), order=st.permutations(range(3)), progress=st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_another_order_of_classes_gives_the_same_loss(seed: int, order: list[int], progress: float) -> None:
    logits, shown = drawn(seed)
    shares = tuple(SHARES[c] for c in order)
    found = candidate(logits[:, order], shown[:, order], LOG_SHARES[order], shares, progress)
    torch.testing.assert_close(found, candidate(logits, shown, LOG_SHARES, SHARES, progress))


def test_a_tile_without_classes_has_no_say() -> None:
    logits, shown = drawn(7)
    more = torch.cat([logits, torch.randn((1, 3, 13), dtype=torch.float64)]).requires_grad_()
    labels = torch.cat([shown, torch.zeros((1, 3), dtype=torch.bool)])
    found = candidate(more, labels, LOG_SHARES, SHARES, 1.0)
    torch.testing.assert_close(found, candidate(logits, shown, LOG_SHARES, SHARES, 1.0))
    (gradient,) = torch.autograd.grad(found, more)
    assert gradient[4].abs().max() == 0
    alone = more[4:]
    assert candidate(alone, labels[4:], LOG_SHARES, SHARES, 1.0).item() == 0


def test_half_precision_is_computed_in_single() -> None:
    logits, shown = drawn(1)
    half = logits.to(torch.bfloat16)
    found = candidate(half, shown, LOG_SHARES, SHARES, 0.6)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, candidate(half.float(), shown, LOG_SHARES, SHARES, 0.6))


def test_top_means_count_down_and_at_least_one_cell() -> None:
    scores = torch.tensor([[[0.1, 0.9, 0.5, 0.3], [0.2, 0.4, 0.8, 0.6]]])
    torch.testing.assert_close(top_means(scores, (0.7, 0.1)), torch.tensor([[0.7, 0.8]]))


def test_shares_are_clipped_and_objects_are_looked_for_in_fewer_cells() -> None:
    shown = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]], dtype=bool)
    np.testing.assert_allclose(log_shown_shares(shown), np.log([0.98, 0.02, 0.25]), rtol=1e-6)
    assert class_top_shares(3, None, 0.4, 0.1) == (0.4, 0.4, 0.4)
    assert class_top_shares(3, 1, 0.4, 0.1) == (0.1, 0.4, 0.1)
