"""The simulated survey as a survey: shares, splits, labels and difficulty."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from sonarseg.errors import UserError
from sonarseg.simulation import simulate
from sonarseg.simulation import survey as writing
from sonarseg.simulation.settings import SHARES
from sonarseg.simulation.survey import balanced_splits
from sonarseg.survey.layout import Survey, open_survey


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    root = tmp_path_factory.mktemp("simulated") / "survey"
    simulate(root, tiles=100, size=64, seed=3)
    return open_survey(root).with_masks_of("train", "test")


def pixels(survey: Survey, split: str) -> tuple[np.ndarray, np.ndarray]:
    tiles = survey.splits[split]
    grey = np.concatenate([np.asarray(survey.read_image(t)).ravel() for t in tiles])
    return grey, np.concatenate([survey.read_mask(t).ravel() for t in tiles])


def assert_every_split_shows_everything(survey: Survey) -> None:
    for tiles in survey.splits.values():
        assert np.stack([survey.shown(t) for t in tiles]).any(axis=0).all()
        assert any(survey.multiclass(t) for t in tiles)


def test_shares_are_as_imbalanced_as_asked(survey: Survey) -> None:
    truth = np.concatenate([pixels(survey, split)[1] for split in survey.splits])
    shares = np.bincount(truth, minlength=4) / truth.size
    np.testing.assert_allclose(shares, np.array(SHARES) / sum(SHARES), atol=0.05)


def test_strips_stay_in_one_split_and_every_split_shows_every_class(survey: Survey) -> None:
    strips = {split: {survey.groups[t] for t in tiles} for split, tiles in survey.splits.items()}
    assert not strips["train"] & strips["val"] and not strips["train"] & strips["test"]
    assert not strips["val"] & strips["test"]
    assert_every_split_shows_everything(survey)
    assert sum(len(tiles) for tiles in survey.splits.values()) == 100


# With seeds 14, 16 and 19 the first sea floor drawn has too little seagrass or rock to go round.
@pytest.mark.parametrize("seed", [0, 14, 16, 19])
def test_every_split_of_the_smallest_survey_shows_every_class(tmp_path: Path, seed: int) -> None:
    simulate(tmp_path / "survey", tiles=30, size=48, seed=seed)
    assert_every_split_shows_everything(open_survey(tmp_path / "survey"))


def test_splits_that_cannot_show_every_class_are_not_made() -> None:
    shown = {f"t{i}": np.array([True, i == 0]) for i in range(12)}
    assert balanced_splits(shown, {tile: tile for tile in shown}, 0) is None


def test_a_sea_floor_that_never_fits_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "balanced_splits", lambda *_: None)
    monkeypatch.setattr(writing, "LAYOUT_ATTEMPTS", 2)
    with pytest.raises(UserError, match="use more"):
        simulate(tmp_path / "survey", tiles=30, size=24, seed=0)
    assert not (tmp_path / "survey").exists()


def test_most_tiles_hold_one_class_and_some_several(survey: Survey) -> None:
    several = np.mean([survey.multiclass(t) for tiles in survey.splits.values() for t in tiles])
    assert 0.3 < several < 0.55


def test_labels_tell_what_masks_show(survey: Survey) -> None:
    for tile in survey.splits["train"]:
        counts = np.bincount(survey.read_mask(tile).ravel(), minlength=4)
        np.testing.assert_array_equal(survey.shown(tile), counts >= 0.01 * 64 * 64)


def test_grey_level_alone_tells_too_little(survey: Survey) -> None:
    grey, truth = pixels(survey, "train")
    histogram = np.stack([np.bincount(grey[truth == k], minlength=256) for k in range(4)])
    unseen_grey, unseen = pixels(survey, "test")
    for table in (histogram, histogram / histogram.sum(axis=1, keepdims=True)):
        guess = table.argmax(axis=0)[unseen_grey]
        assert jaccard_score(unseen, guess, average="macro") < 0.6


def test_the_same_seed_makes_the_same_survey(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(tmp_path / name, tiles=30, size=32, seed=seed)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    same = [(tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files]
    other = [(tmp_path / "a" / f).read_bytes() == (tmp_path / "c" / f).read_bytes() for f in files]
    assert all(same) and not all(other)


@pytest.mark.parametrize(("tiles", "size"), [(5, 64), (100, 8)])
def test_hopeless_sizes_are_refused(tmp_path: Path, tiles: int, size: int) -> None:
    with pytest.raises(UserError, match="use"):
        simulate(tmp_path / "survey", tiles=tiles, size=size, seed=0)
    assert not (tmp_path / "survey").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        simulate(tmp_path, tiles=30, size=32, seed=0)


def test_an_interrupted_simulation_leaves_nothing_and_the_same_call_begins_again(tmp_path: Path) -> None:
    told: list[str] = []

    def interrupt(what: str, done: int, total: int, note: str = "") -> None:
        told.append(what)
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "survey", tiles=30, size=24, seed=0, progress=interrupt)
    assert told == ["laying the sea floor out", "simulating strips"]
    assert list(tmp_path.iterdir()) == []
    simulate(tmp_path / "survey", tiles=30, size=24, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["survey"]
