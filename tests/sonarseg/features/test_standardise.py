import numpy as np
import torch

from sonarseg.features.standardise import Standardisation


def standardised(tiles):
    standardise = Standardisation(tiles[0].shape[-1])
    standardise.fit(tiles)
    return standardise, [standardise(torch.from_numpy(tile).permute(2, 0, 1)[None])[0] for tile in tiles]


def test_train_gets_mean_0_and_deviation_1_and_far_values_are_cut():
    generator = np.random.default_rng(0)
    sizes = ((20, 30), (11, 7))
    tiles = [generator.normal([3, -200], [2, 40], (*size, 2)).astype(np.float16) for size in sizes]
    standardise, found = standardised(tiles)
    rows = torch.cat([tile.flatten(1) for tile in found], dim=1)
    np.testing.assert_allclose(rows.mean(dim=1), 0, atol=1e-3)
    np.testing.assert_allclose(rows.std(dim=1), 1, atol=1e-3)
    far = torch.tensor([900, -900], dtype=torch.float16).view(1, 2, 1, 1)
    assert standardise(far).flatten().tolist() == [6, -6]


def test_a_channel_that_does_not_vary_is_0():
    _, found = standardised([np.full((2, 3, 1), 5, np.float16)])
    assert not found[0].any()


def test_a_large_mean_costs_no_digits():
    values = (60_000 + 32 * np.arange(12)).astype(np.float16).reshape(3, 4, 1)
    standardise, _ = standardised([values[:2], values[2:]])
    exact = values.astype(np.float64)
    np.testing.assert_allclose(standardise.mean.item(), exact.mean(), rtol=1e-6)
    np.testing.assert_allclose(standardise.deviation.item(), exact.std(), rtol=1e-6)
