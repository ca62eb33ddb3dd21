import numpy as np

from sonarseg.features.standardise import fit_standardisation


def test_train_gets_mean_0_and_deviation_1_and_far_values_are_cut():
    generator = np.random.default_rng(0)
    tiles = [
        generator.normal([3, -200], [2, 40], (*size, 2)).astype(np.float16) for size in ((20, 30), (11, 7))
    ]
    standardise = fit_standardisation(tiles)
    rows = np.concatenate([standardise(tile).reshape(-1, 2) for tile in tiles])
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-3)
    assert standardise(np.array([[900, -900]], np.float16)).tolist() == [[6, -6]]


def test_a_channel_that_does_not_vary_is_0():
    tiles = [np.full((2, 3, 1), 5, np.float16)]
    assert not fit_standardisation(tiles)(tiles[0]).any()
