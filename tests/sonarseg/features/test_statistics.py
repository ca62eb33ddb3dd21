import math

import numpy as np
import pytest
import torch

from sonarseg.features.statistics import CHANNELS, local_statistics


def at(picture, row, column):
    """A pixel; the outermost go on outside."""
    return picture[min(max(row, 0), len(picture) - 1)][min(max(column, 0), len(picture[0]) - 1)]


def box(picture, side):
    reach = range(-(side // 2), side // 2 + 1)
    return [
        [
            sum(at(picture, row + i, column + j) for i in reach for j in reach) / side**2
            for column in range(len(picture[0]))
        ]
        for row in range(len(picture))
    ]


def quantities(amplitude):
    height, width = len(amplitude), len(amplitude[0])
    everywhere = [(row, column) for row in range(height) for column in range(width)]

    def picture(value):
        return [[value(row, column) for column in range(width)] for row in range(height)]

    log = picture(lambda r, c: math.log(amplitude[r][c] + 0.02))
    found = [
        log,
        picture(lambda r, c: log[r][c] ** 2),
        picture(lambda r, c: abs(at(log, r + 1, c) - log[r][c])),
        picture(lambda r, c: abs(at(log, r, c + 1) - log[r][c])),
        picture(lambda r, c: float(amplitude[r][c] < 0.03)),
        picture(lambda r, c: float(amplitude[r][c] > 0.5)),
    ]
    smooth = log
    for side in (3, 5, 9):
        smoother = box(smooth, side)
        detail = [[0.0] * width for _ in range(height)]
        for row, column in everywhere:
            detail[row][column] = smooth[row][column] - smoother[row][column]
        smooth = smoother
        reach = side // 2

        def differences(sign, smooth=smooth, reach=reach):
            return picture(lambda r, c: abs(smooth[r][c] - at(smooth, r - reach, c + sign * reach)))

        found += [
            picture(lambda r, c, detail=detail: abs(detail[r][c])),
            picture(lambda r, c, detail=detail: max(detail[r][c], 0) ** 3),
            differences(-1),
            differences(1),
        ]
    return found


def expected(amplitude, rows, columns):
    height, width = len(amplitude) // rows, len(amplitude[0]) // columns
    means = [
        [
            [
                float(
                    np.mean(
                        [line[c * width : (c + 1) * width] for line in one[r * height : (r + 1) * height]]
                    )
                )
                for c in range(columns)
            ]
            for r in range(rows)
        ]
        for one in quantities(amplitude)
    ]
    found = []
    for side in (1, 3, 5, 9):
        window = [box(one, side) for one in means]
        deviation = np.sqrt(np.maximum(np.array(window[1]) - np.array(window[0]) ** 2, 0))
        found += [window[0], deviation, *window[2:]]
    return np.array(found)


@pytest.mark.parametrize(("size", "cells"), [((24, 32), (3, 4)), ((8, 8), (1, 1)), ((10, 6), (5, 2))])
def test_they_are_what_plain_loops_give(size, cells):
    amplitude = np.random.default_rng(1).gamma(1.0, 0.2, size).clip(0, 1).astype(np.float32)
    found = local_statistics(torch.from_numpy(amplitude)[None, None], cells)[0]
    assert found.shape == (CHANNELS, *cells)
    # A deviation is the root of a difference: near 0 it is known to half the digits.
    np.testing.assert_allclose(found, expected(amplitude.tolist(), *cells), atol=2e-3, rtol=1e-4)


def test_a_tile_of_one_pixel_has_statistics():
    found = local_statistics(torch.full((1, 1, 1, 1), 0.7), (1, 1))
    assert found.isfinite().all()
    assert found[0, :6, 0, 0].tolist() == pytest.approx([math.log(0.72), 0, 0, 0, 0, 1], abs=1e-3)
