"""Scores against scikit-learn, the baseline's hand-worked figures and properties."""

import subprocess
import sys

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sonarseg.metrics.confusion import confusion
from sonarseg.metrics.iou import (
    METRICS,
    class_iou,
    fwiou,
    miou,
    miou_multiclass,
    miou_paper,
    pixel_accuracy,
    survey_scores,
)

K = 4
TILES = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 5), st.just(2), st.integers(1, 12)), elements=st.integers(0, K - 1)
)
CONFUSIONS = hnp.arrays(
    np.int64, st.tuples(st.integers(1, 6), st.just(3), st.just(3)), elements=st.integers(0, 50)
)


def counted(tiles: np.ndarray) -> np.ndarray:
    return np.stack([confusion(truth, predicted, K) for truth, predicted in tiles])


@settings(deadline=None)
@given(TILES)
def test_scores_equal_scikit_learn(tiles):
    truth, predicted = tiles[:, 0].ravel(), tiles[:, 1].ravel()
    present = np.union1d(truth, predicted)
    confusions = counted(tiles)
    jaccard = sklearn.metrics.jaccard_score(truth, predicted, labels=present, average=None)
    expected = dict(zip(present, jaccard, strict=True))
    for label, value in enumerate(class_iou(confusions)):
        assert value == pytest.approx(expected[label]) if label in expected else value is None
    assert miou(confusions) == pytest.approx(jaccard.mean())
    weighted = sklearn.metrics.jaccard_score(truth, predicted, average="weighted")
    assert fwiou(confusions) == pytest.approx(weighted)
    assert pixel_accuracy(confusions) == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))


@settings(deadline=None)
@given(TILES)
def test_miou_multiclass_is_miou_of_the_tiles_with_several_true_classes(tiles):
    several = np.array([np.unique(truth).size > 1 for truth, _ in tiles])
    expected = miou(counted(tiles[several])) if several.any() else None
    assert miou_multiclass(counted(tiles)) == expected


@settings(deadline=None)
@given(TILES)
def test_miou_paper_is_the_loop_of_the_baseline(tiles):
    values = []
    for truth, predicted in tiles:
        for label in range(K):
            true, said = truth == label, predicted == label
            values.append(((true & said).sum() + 1e-6) / ((true | said).sum() + 1e-6))
    assert miou_paper(counted(tiles)) == pytest.approx(np.mean(values))


def test_miou_paper_of_a_wholly_wrong_tile_is_one_half():
    truth = np.zeros((256, 256), dtype=np.uint8)
    confusions = confusion(truth, truth + 1, 4)[None]
    assert miou_paper(confusions) == pytest.approx(0.5, abs=1e-9)
    assert miou(confusions) == 0
    assert miou_multiclass(confusions) is None


def test_hand_worked_survey():
    # Tile 0: six pixels of class 0, two said 1. Tile 1: three of 0 right; five of 1, one said 0.
    confusions = np.array([[[4, 2, 0], [0, 0, 0], [0, 0, 0]], [[3, 0, 0], [1, 4, 0], [0, 0, 0]]])
    scores = survey_scores(confusions, ["mud", "sand", "rock"])
    assert scores["iou"] == {"mud": pytest.approx(7 / 10), "sand": pytest.approx(4 / 7), "rock": None}
    assert scores["miou"] == pytest.approx((7 / 10 + 4 / 7) / 2)
    assert scores["miou_multiclass"] == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert scores["miou_paper"] == pytest.approx((4 / 6 + 0 + 1 + 3 / 4 + 4 / 5 + 1) / 6, abs=1e-6)
    assert scores["fwiou"] == pytest.approx((9 * 7 / 10 + 5 * 4 / 7) / 14)
    assert scores["pixel_accuracy"] == pytest.approx(11 / 14)


@pytest.mark.parametrize("tiles", [0, 2])
def test_nothing_to_score_is_none_everywhere(tiles):
    scores = survey_scores(np.zeros((tiles, 2, 2), dtype=np.int64), ["a", "b"])
    assert scores.pop("iou") == {"a": None, "b": None}
    assert set(scores.values()) == {None}


def test_tile_without_valid_pixels_does_not_lift_miou_paper():
    wrong = np.array([[0, 5], [0, 0]])
    assert miou_paper(np.stack([wrong, np.zeros_like(wrong)])) == miou_paper(wrong[None])


def test_number_of_names_must_fit():
    with pytest.raises(ValueError, match=r"expected \(T, 3, 3\)"):
        survey_scores(np.zeros((1, 2, 2), int), ["a", "b", "c"])


@settings(deadline=None)
@given(CONFUSIONS, st.permutations(range(3)), st.randoms(use_true_random=False))
def test_order_of_tiles_and_names_of_classes_do_not_matter(confusions, order, random):
    tiles = list(range(len(confusions)))
    random.shuffle(tiles)
    moved = confusions[tiles][:, order][:, :, order]
    for metric in METRICS.values():
        before = metric(confusions)
        assert metric(moved) == (None if before is None else pytest.approx(before))


@settings(deadline=None)
@given(CONFUSIONS)
def test_scores_lie_in_the_unit_interval_and_are_1_only_where_all_is_right(confusions):
    all_right = confusions * np.eye(3, dtype=int)
    for metric in METRICS.values():
        value = metric(confusions)
        assert value is None or 0 <= value <= 1
        assert metric(all_right) in (None, 1.0)
    if not np.array_equal(all_right, confusions):
        assert miou(confusions) < 1


def test_import_stays_cheap():
    heavy = (
        "import sys, sonarseg.metrics.iou, sonarseg.metrics.confusion, sonarseg.metrics.average_precision; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0
