import numpy as np
import pytest
import torch

from sonarseg.features.cells import grid, to_cells


def by_loops(line, side, cells, stride, offset):
    """Interpolate to a fine line of pixels, then average over each cell, which may cut pixels."""
    pixels = np.interp((np.arange(side) - offset) / stride, np.arange(len(line)), line)
    fine = np.repeat(pixels, cells)
    return np.array([fine[i * side : (i + 1) * side].mean() for i in range(cells)])


@pytest.mark.parametrize(
    ("side", "cells", "stride", "offset"),
    [
        (24, 3, 1, 0),
        (25, 3, 1, 0),
        (25, 3, 4, 0),
        (40, 5, 16, 0),
        (40, 5, 16, 7.5),
        (7, 1, 16, 0),
        (5, 9, 2, 0),
    ],
)
def test_each_axis_is_interpolated_and_averaged(side, cells, stride, offset):
    generator = np.random.default_rng(3)
    entries = -(-side // stride)
    maps = generator.normal(size=(entries, 2))
    wide = to_cells(torch.tensor(maps.T[None, :, None]).float(), (1, side), (1, cells), stride, offset)
    tall = to_cells(torch.tensor(maps.T[None, :, :, None]).float(), (side, 1), (cells, 1), stride, offset)
    for channel in range(2):
        expected = by_loops(maps[:, channel], side, cells, stride, offset)
        np.testing.assert_allclose(wide[0, channel, 0], expected, atol=1e-5)
        np.testing.assert_allclose(tall[0, channel, :, 0], expected, atol=1e-5)


def test_a_ramp_of_any_stride_lies_where_it_lay():
    """Far from the borders, a map whose entries hold the place of their centre gives the centres of cells."""
    for stride, offset in ((4, 0), (8, 0), (16, 0), (16, 7.5), (14, 6.5)):
        length = -(-240 // stride)
        ramp = (torch.arange(float(length)) * stride + offset).expand(1, 1, length, length)
        found = to_cells(ramp, (240, 240), (30, 30), stride, offset)[0, 0, 15]
        torch.testing.assert_close(found[3:26], torch.arange(3.0, 26) * 8 + 3.5)


@pytest.mark.parametrize(("size", "cells"), [((216, 240), (27, 30)), ((1, 3), (1, 1)), ((20, 29), (2, 4))])
def test_cells_are_rounded(size, cells):
    assert grid(size, 8) == cells
