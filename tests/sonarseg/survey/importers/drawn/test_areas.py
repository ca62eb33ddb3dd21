"""Which pixels an area covers."""

import numpy as np
import pytest

from sonarseg.errors import UserError
from sonarseg.survey.importers.drawn.areas import Disc, Outlines, Pixels, outline, rectangle
from sonarseg.survey.importers.drawn.run_lengths import coco_runs, pixels_of_runs


def outlines(*rings: list[tuple[float, float]]) -> Outlines:
    return Outlines(tuple(outline(ring, "here") for ring in rings))


def box(*sides: float, turned: float = 0.0, around: str = "centre") -> Outlines:
    left, top, right, bottom = sides
    return Outlines((rectangle(left, top, right, bottom, "here", turned=turned, around=around),))


def test_a_pixel_is_covered_if_its_centre_is() -> None:
    covered = box(1.4, 0.6, 3.5, 2.5).covers(4, 5)
    expected = np.zeros((4, 5), dtype=bool)
    expected[1:2, 1:3] = True
    # Rows 0.6 to 2.5 hold the centre 1.5 alone, as 2.5 belongs to what begins there.
    np.testing.assert_array_equal(covered, expected)


def test_areas_that_share_an_edge_neither_overlap_nor_leave_a_gap() -> None:
    corners = [(0.0, 0.0), (9.0, 0.0), (9.0, 7.0), (0.0, 7.0)]
    middle = (3.5, 2.5)
    parts = [outlines([corners[i], corners[(i + 1) % 4], middle]).covers(7, 9) for i in range(4)]
    np.testing.assert_array_equal(np.sum(parts, axis=0), 1)


def test_outlines_by_the_even_odd_rule_as_checked_point_by_point() -> None:
    ring = [(1.0, 1.0), (14.2, 3.1), (2.3, 9.7), (12.9, 12.2), (6.6, -3.0)]

    def inside(x: float, y: float) -> bool:
        crossed = 0
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            if (y0 > y) != (y1 > y):
                crossed += x < x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        return crossed % 2 == 1

    expected = [[inside(x + 0.5, y + 0.5) for x in range(13)] for y in range(11)]
    np.testing.assert_array_equal(outlines(ring).covers(11, 13), expected)


def test_several_outlines_are_one_area() -> None:
    covered = Outlines((rectangle(0, 0, 2, 2, "here"), rectangle(1, 0, 4, 1, "here"))).covers(3, 5)
    assert covered.sum() == 4 + 2


def test_a_rectangle_is_turned_clockwise() -> None:
    corner = box(5, 1, 8, 3, turned=90, around="corner").covers(6, 9)
    expected = np.zeros((6, 9), dtype=bool)
    expected[1:4, 3:5] = True
    np.testing.assert_array_equal(corner, expected)
    centre = box(2, 2, 6, 4, turned=90).covers(6, 9)
    expected = np.zeros((6, 9), dtype=bool)
    expected[1:5, 3:5] = True
    np.testing.assert_array_equal(centre, expected)


def test_what_lies_outside_of_the_picture_is_left_out() -> None:
    covered = Pixels(np.ones((4, 4), dtype=bool), top=-2, left=3).covers(3, 5)
    assert covered.nonzero()[0].tolist() == [0, 0, 1, 1]
    assert not Pixels(np.ones((2, 2), dtype=bool), top=9, left=9).covers(3, 5).any()
    assert box(-10, -10, 99, 99).covers(3, 5).all()
    assert Disc(0, 0, 1).covers(3, 5).sum() == 1


@pytest.mark.parametrize(
    "points",
    [
        [(0, 0), (1, 1)],
        [(0, 0), (1, 1), (2, float("nan"))],
        [(0, 0), (1, 1), (2, 10**400)],
        [(0,), (1,), (2,)],
    ],
)
def test_no_area(points: list[tuple[float, ...]]) -> None:
    with pytest.raises(UserError, match=r"^here"):
        outline(points, "here")


def test_compressed_text_as_the_tools_of_coco_write_it() -> None:
    mask = np.zeros((6, 9), dtype=bool)
    mask[1:5, 2:7] = True
    mask[2, 4] = False
    mask[5, 8] = True
    runs = coco_runs("=4200MO11200:M", "here")
    np.testing.assert_array_equal(pixels_of_runs(runs, 6, 9, "here", by_columns=True), mask)


def test_runs_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="its runs have 9 pixels, expected 6"):
        pixels_of_runs([3, 6], 2, 3, "here")
    with pytest.raises(UserError, match="its runs have 3 pixels, expected 6"):
        pixels_of_runs([3], 2, 3, "here")
    with pytest.raises(UserError, match="negative"):
        pixels_of_runs([7, -1], 2, 3, "here")
    with pytest.raises(UserError, match="too long"):
        pixels_of_runs([10**30], 2, 3, "here")
    with pytest.raises(UserError, match="expected the size of a tile"):
        pixels_of_runs([1], 10**9, 10**9, "here")
    with pytest.raises(UserError, match="cannot"):
        coco_runs("=é", "here")
    with pytest.raises(UserError, match="middle of a number"):
        coco_runs("Q", "here")
    assert pixels_of_runs([1, 2], 2, 3, "here").ravel().tolist() == [False, True, True, False, False, False]
