"""Tiles come out of their store, and batches out of the feed, as they lie in the files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.survey.layout import open_survey
from sonarseg.survey.pixel_store import StoredPicture, packed
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.data.feed import PictureFeed, feed_of, stream
from sonarseg.training.data.tiles import batches_by_size, load_masks, load_tiles

RAGGED = [(4, 5), (6, 3), (4, 5), (2, 7), (6, 3)]


def ragged(channels: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (channels, *shape), dtype=np.uint8) for shape in RAGGED]


def test_the_store_holds_the_decoded_pictures(tmp_path: Path, tiny_survey: Path) -> None:
    survey = open_survey(tiny_survey)
    names = survey.splits["train"]
    tiles = load_tiles(survey, names, GreyScaling(), 1.0, store=tmp_path / "train")
    again = load_tiles(survey, names, GreyScaling(), 1.0, store=tmp_path / "train")
    for index, name in enumerate(names):
        expected = np.asarray(Image.open(tiny_survey / "images" / f"{name}.png"))
        np.testing.assert_array_equal(tiles.pictures[index][0], expected)
        np.testing.assert_array_equal(again.pictures[index][0], expected)
        assert tiles.disk_size(index) == expected.shape
        assert tiles.multiclass[index] == (tiles.shown[index].sum() > 1)
    values = np.concatenate([tiles.pictures[i].ravel() for i in range(len(tiles))]) / 255
    normalisation = tiles.normalisation()
    assert normalisation.mean[0] == pytest.approx(values.mean())
    assert normalisation.std[0] == pytest.approx(values.std())


def test_masks_of_val_are_stored_and_those_of_train_stay_closed(tmp_path: Path, tiny_survey: Path) -> None:
    survey = open_survey(tiny_survey)
    masks = load_masks(survey, survey.splits["val"], tmp_path / "masks")
    for index, name in enumerate(survey.splits["val"]):
        expected = np.asarray(Image.open(tiny_survey / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(masks[index][0], expected)
    with pytest.raises(PermissionError):
        load_masks(survey, survey.splits["train"], tmp_path / "closed")


def test_each_list_of_tiles_has_a_store_of_its_own(tmp_path: Path, tiny_survey: Path) -> None:
    survey = open_survey(tiny_survey)
    for names in (("t00", "t01"), ("t01", "t00")):
        tiles = load_tiles(survey, names, GreyScaling(), 1.0, store=tmp_path / "tiles")
        for index, name in enumerate(names):
            np.testing.assert_array_equal(tiles.pictures[index][0], survey.read_image(name))
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


@pytest.mark.parametrize("fill", [None, 255])
def test_smaller_tiles_of_a_batch_are_padded(fill: int | None) -> None:
    arrays = ragged(channels=3)
    store = packed(StoredPicture(array, array.shape[1:]) for array in arrays)
    batch = PictureFeed(store, torch.device("cpu"), fill).assembled([1, 3, 0])
    assert batch.shape == (3, 3, 6, 7)
    for place, index in enumerate([1, 3, 0]):
        height, width = RAGGED[index]
        kind = {"mode": "edge"} if fill is None else {"constant_values": fill}
        expected = np.pad(arrays[index], ((0, 0), (0, 6 - height), (0, 7 - width)), **kind)
        np.testing.assert_array_equal(batch[place].numpy(), expected)


def test_batches_of_tiles_of_many_sizes_have_few_shapes() -> None:
    store = packed(StoredPicture(array, array.shape[1:]) for array in ragged())
    same = packed(StoredPicture(array, array.shape[1:]) for array in ragged()[:1])
    feeds = [feed_of(store, torch.device("cpu")), feed_of(store, torch.device("cpu"), fill=255)]
    batches = [[0, 1], [3], [4, 2]]
    for batch, (edge, filled) in zip(batches, stream(feeds, batches, multiple=8), strict=True):
        assert edge.shape == filled.shape == (len(batch), 1, 8, 8)
        for place, index in enumerate(batch):
            height, width = RAGGED[index]
            assert np.array_equal(edge[place, :, :height, :width], ragged()[index])
            assert (edge[place, 0, height:, width - 1] == int(edge[place, 0, height - 1, width - 1])).all()
            assert (filled[place, 0, height:] == 255).all() and (filled[place, 0, :, width:] == 255).all()
    assert PictureFeed(same, torch.device("cpu")).assembled([0], multiple=8).shape == (1, 1, 4, 5)


def test_streams_give_every_feed_s_batches_in_order() -> None:
    arrays = [np.full((1, 2, 2), value, np.uint8) for value in range(7)]
    pictures = packed(StoredPicture(array, (2, 2)) for array in arrays)
    targets = packed(StoredPicture(array + 100, (2, 2)) for array in arrays)
    feeds = [feed_of(store, torch.device("cpu")) for store in (pictures, targets)]
    batches = [[3, 1], [0], [6, 5, 2]]
    found = [[part[:, 0, 0, 0].tolist() for part in parts] for parts in stream(feeds, batches)]
    assert found == [[batch, [value + 100 for value in batch]] for batch in batches]
    assert feed_of(pictures, torch.device("cpu")) is feeds[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("share", [0.25, 0.0])
@pytest.mark.parametrize("same_size", [True, False])
def test_cuda_gives_what_the_cpu_gives(
    share: float, same_size: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonarseg.training.data.feed.RESIDENT_SHARE", share)
    arrays = [array for array in ragged() if not same_size or array.shape == (1, 4, 5)]
    store = packed(StoredPicture(array, array.shape[1:]) for array in arrays)
    batches = [[1, 0], [1], [0, 1], [0], [1, 1], [0, 0]]
    cpu, cuda = (list(stream([PictureFeed(store, torch.device(name))], batches)) for name in ("cpu", "cuda"))
    for (expected,), (found,) in zip(cpu, cuda, strict=True):
        assert found.is_cuda
        assert torch.equal(found.cpu(), expected)


def test_batches_hold_tiles_of_one_size(tmp_path: Path, tiny_survey: Path) -> None:
    survey = open_survey(tiny_survey)
    tiles = load_tiles(survey, survey.splits["train"], GreyScaling(), 1.0)
    object.__setattr__(tiles, "pictures", packed(StoredPicture(a, a.shape[1:]) for a in ragged()))
    assert list(batches_by_size(tiles, [0, 1, 2, 3, 4], 8)) == [[0, 2], [1, 4], [3]]
    assert list(batches_by_size(tiles, [4, 0, 2], 1)) == [[4], [0], [2]]


def test_tiles_of_another_depth_than_the_model_s_are_refused_and_leave_no_store(
    tmp_path: Path, tiny_survey: Path
) -> None:
    survey = open_survey(tiny_survey)
    deep = GreyScaling(low=99, high=9000)
    with pytest.raises(UserError, match=r"t00\.png has 8 bits, but .* pictures of 16 bits"):
        load_tiles(survey, survey.splits["train"], deep, 1.0, store=tmp_path / "tiles" / "train")
    assert not [path for path in (tmp_path / "tiles").iterdir() if path.is_dir()]
