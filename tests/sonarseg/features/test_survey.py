"""Features of a survey: stored whole or not at all, and made again only if something changed."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.features.encoder import FeatureSettings, pretrained_encoder
from sonarseg.features.extract import FeatureExtractor
from sonarseg.features.store import TileFeatures
from sonarseg.features.survey import features_of
from sonarseg.progress import Progress
from sonarseg.survey.layout import Survey, open_survey
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.data.tiles import load_tiles
from tests.support.tiny_survey import write_survey


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A survey of tiles of 20 x 24 pixels and one of 33 x 16."""
    root = write_survey(tmp_path / "survey")
    grey = np.random.default_rng(5).integers(0, 256, (33, 16), dtype=np.uint8)
    Image.fromarray(grey).save(root / "images" / "train1.png")
    return root


@pytest.fixture
def survey(root: Path) -> Survey:
    return open_survey(root)


@dataclass
class Features:
    """Gives the features of splits, kept in a folder."""

    folder: Path
    extractor: FeatureExtractor
    feature_gb: float
    progress: Progress

    def of(self, survey: Survey, split: str) -> TileFeatures:
        tiles = load_tiles(survey, survey.splits[split], GreyScaling(), 1.0, labels=False)
        return features_of(
            tiles.names,
            tiles.pictures,
            tiles.files,
            self.extractor,
            self.folder / split,
            prepared={"tile_scale": 1.0},
            feature_gb=self.feature_gb,
            progress=self.progress,
        )


def features(folder: Path, said: list[tuple[object, ...]] | None = None, **settings: object) -> Features:
    kept: list[tuple[object, ...]] = [] if said is None else said
    feature_gb = float(settings.pop("feature_gb", 1.0))
    extractor = FeatureExtractor(pretrained_encoder(FeatureSettings(**settings)), threads=1)
    return Features(folder, extractor, feature_gb, lambda *told: kept.append(told))


def computed(said: list[tuple[object, ...]]) -> int:
    return sum(told[0] == "computing features" for told in said)


def test_a_split_of_several_sizes_is_stored_and_read_again(tmp_path: Path, survey: Survey) -> None:
    said: list[tuple[object, ...]] = []
    made = features(tmp_path / "features", said)
    first = made.of(survey, "train")
    assert said[-4:] == [("computing features", i, 4) for i in range(1, 5)]
    assert [tile.shape[:2] for tile in first] == [(2, 3), (4, 2), (2, 3), (2, 3)]
    assert first.rows is not None and first.rows.shape == (26, made.extractor.channels)
    for index, name in enumerate(survey.splits["train"]):
        picture = np.asarray(Image.open(survey.image_path(name)))[None]
        assert np.array_equal(first[index], made.extractor(picture))
    again: list[tuple[object, ...]] = []
    second = features(tmp_path / "features", again).of(survey, "train")
    assert not computed(again)
    assert second.rows is not None and np.array_equal(second.rows, first.rows)
    with pytest.raises(IndexError):
        first[4]


def test_beyond_the_bound_they_are_computed_on_the_fly(tmp_path: Path, survey: Survey) -> None:
    stored = features(tmp_path / "stored").of(survey, "val")
    said: list[tuple[object, ...]] = []
    flying = features(tmp_path / "flying", said, feature_gb=1e-6).of(survey, "val")
    assert flying.rows is None and not computed(said)
    assert not (tmp_path / "flying").exists()
    assert np.array_equal(flying.shapes, stored.shapes)
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(flying, stored, strict=True))


def test_a_changed_tile_makes_them_again(tmp_path: Path, root: Path, survey: Survey) -> None:
    before = features(tmp_path / "features").of(survey, "train")
    kept = before[0].copy(), before[2].copy()
    Image.fromarray(np.full((20, 24), 99, np.uint8)).save(root / "images" / "train2.png")
    said: list[tuple[object, ...]] = []
    after = features(tmp_path / "features", said).of(survey, "train")
    assert computed(said) == 4
    assert np.array_equal(after[0], kept[0])
    assert not np.array_equal(after[2], kept[1])


def test_a_touched_or_copied_survey_keeps_them(tmp_path: Path, root: Path, survey: Survey) -> None:
    features(tmp_path / "features").of(survey, "val")
    shutil.copytree(root, tmp_path / "copy")
    said: list[tuple[object, ...]] = []
    features(tmp_path / "features", said).of(open_survey(tmp_path / "copy"), "val")
    assert not computed(said)


@pytest.mark.parametrize("settings", [{"cell": 4}, {"statistics": False}, {"blocks": ("blocks.2",)}])
def test_other_settings_make_them_again(tmp_path: Path, survey: Survey, settings: dict[str, object]) -> None:
    features(tmp_path / "features").of(survey, "val")
    said: list[tuple[object, ...]] = []
    features(tmp_path / "features", said, **settings).of(survey, "val")
    assert computed(said) == 5


def test_an_interruption_leaves_nothing_half_written(tmp_path: Path, survey: Survey) -> None:
    interrupted = features(tmp_path / "features")

    def stop(what: str, done: int, total: int, note: str = "") -> None:
        if what == "computing features" and done == 2:
            raise KeyboardInterrupt

    interrupted.progress = stop
    with pytest.raises(KeyboardInterrupt):
        interrupted.of(survey, "val")
    assert [path for path in (tmp_path / "features").iterdir() if path.is_dir()] == []
    said: list[tuple[object, ...]] = []
    features(tmp_path / "features", said).of(survey, "val")
    assert computed(said) == 5


@pytest.mark.parametrize("name", ["rows.bin", "shapes.npy", "store.json"])
def test_a_damaged_store_is_made_again(tmp_path: Path, survey: Survey, name: str) -> None:
    whole = features(tmp_path / "features").of(survey, "val")
    expected = [tile.copy() for tile in whole]
    store = next(path for path in (tmp_path / "features").iterdir() if path.is_dir())
    (store / name).write_bytes((store / name).read_bytes()[:-7])
    said: list[tuple[object, ...]] = []
    mended = features(tmp_path / "features", said).of(survey, "val")
    assert computed(said) == 5
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(mended, expected, strict=True))


def test_train_masks_stay_closed(tmp_path: Path, survey: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Survey, tile: str) -> None:
        raise AssertionError(f"the mask of {tile} was opened")

    monkeypatch.setattr(Survey, "read_mask", refuse)
    assert len(features(tmp_path / "features").of(survey, "train")) == 4


def test_an_empty_split_has_no_features(tmp_path: Path, root: Path) -> None:
    (root / "splits" / "val.txt").write_text("")
    assert len(features(tmp_path / "features").of(open_survey(root), "val")) == 0
