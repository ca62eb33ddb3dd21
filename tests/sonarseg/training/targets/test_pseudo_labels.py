"""Pseudo-labels made while the CAMs come are those made from the CAM files afterwards."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sonarseg.cam.extract import extract_cams
from sonarseg.cam.extract_split import cam_batches, stream_cams, write_cams
from sonarseg.cam.files import read_cam
from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.survey.layout import Survey, open_survey
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.checkpoint.model import Model, build_network
from sonarseg.training.config import CamConfig, RunConfig
from sonarseg.training.data.tiles import Tiles, load_tiles
from sonarseg.training.targets.pseudo_labels import (
    Labelling,
    label_scored,
    make_pseudo_labels,
    read_frequencies,
)
from sonarseg.training.targets.rounds import PSEUDO_LABELS, RoundTargets
from tests.support.one_tile_cam import extract_cam

SCALES = CamConfig(scales=(1.0, 0.5))


@pytest.fixture
def survey(tiny_survey: Path) -> Survey:
    return open_survey(tiny_survey)


@pytest.fixture
def tiles(survey: Survey) -> Tiles:
    return load_tiles(survey, survey.splits["train"], GreyScaling(), 1.0)


@pytest.fixture
def model(survey: Survey, tiles: Tiles, tiny_config: RunConfig) -> Model:
    torch.manual_seed(0)
    return Model(
        build_network(tiny_config.network, 1, 3).eval(),
        survey.classes,
        None,
        GreyScaling(),
        tiles.normalisation(),
        tiny_config.network,
        tiny_config.sonar,
        torch.device("cpu"),
    )


def test_streamed_cams_are_those_of_the_tiles_one_by_one(model: Model, tiles: Tiles) -> None:
    batches = cam_batches(tiles, [5, 0, 3, 7], model, SCALES)
    found = dict(stream_cams(model, tiles, batches, SCALES))
    assert sorted(found) == [0, 3, 5, 7]
    for index, scores in found.items():
        image = model.normalisation(torch.from_numpy(tiles.pictures[index])[None].float() / 255)[0]
        expected = extract_cam(model.network, image, tiles.shown[index], scales=SCALES.scales)
        np.testing.assert_allclose(scores, expected, atol=2e-3)


def full_from(most: int, seen: list[int]) -> Callable[..., torch.Tensor]:
    """CAMs of a device whose memory ends after `most` tiles."""

    def extracted(network: nn.Module, images: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(len(images))
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return extract_cams(network, images, *rest)

    return extracted


def test_cams_that_do_not_fit_are_made_of_fewer_tiles(
    model: Model, tiles: Tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [[5, 0, 3, 7, 1], [2, 4]]
    expected = dict(stream_cams(model, tiles, batches, SCALES))
    for most, sizes in ((2, [5, 2, 2, 1, 2]), (1, [5, 2, 1, 1, 1, 1, 1, 1, 1])):
        seen: list[int] = []
        monkeypatch.setattr("sonarseg.cam.extract_split.activation_maps", full_from(most, seen))
        found = list(stream_cams(model, tiles, batches, SCALES))
        assert [index for index, _ in found] == [5, 0, 3, 7, 1, 2, 4]
        assert seen == sizes
        for index, scores in found:
            np.testing.assert_allclose(scores, expected[index], atol=2e-3)
    monkeypatch.setattr("sonarseg.cam.extract_split.activation_maps", full_from(0, []))
    with pytest.raises(torch.OutOfMemoryError):
        list(stream_cams(model, tiles, batches, SCALES))


@pytest.mark.parametrize("engine", [Engine(), Engine("torch")])
def test_labels_made_meanwhile_are_those_made_afterwards(
    tmp_path: Path, survey: Survey, tiles: Tiles, model: Model, engine: Engine
) -> None:
    several = [index for index in range(len(tiles)) if tiles.multiclass[index]]
    assert 0 < len(several) < len(tiles)
    write_cams(model, tiles, several, tmp_path / "cams", SCALES)
    parameters = CrfParameters(iterations=2)
    make_pseudo_labels(
        survey, tiles.names, tmp_path / "cams", tmp_path / "after", parameters, GreyScaling(), engine=engine
    )

    def scored() -> Iterator[tuple[str, np.ndarray | None]]:
        for index, name in enumerate(tiles.names):
            path = tmp_path / "cams" / f"{name}.npy"
            yield name, read_cam(path).astype(np.float16) if index in several else None

    labelling = Labelling(survey, GreyScaling(), parameters, engine, jobs=2)
    label_scored(scored(), len(tiles), survey.read_image, labelling, tmp_path / "meanwhile")
    for name in tiles.names:
        after, meanwhile = (
            np.asarray(Image.open(tmp_path / f / f"{name}.png")) for f in ("after", "meanwhile")
        )
        np.testing.assert_array_equal(meanwhile, after)
    np.testing.assert_array_equal(
        read_frequencies(tmp_path / "meanwhile"), read_frequencies(tmp_path / "after")
    )


def test_a_failing_tile_ends_the_work_and_leaves_no_folder(tmp_path: Path, survey: Survey) -> None:
    def scored() -> Iterator[tuple[str, np.ndarray | None]]:
        yield "t00", None
        yield "not-there", None

    labelling = Labelling(survey, GreyScaling(), CrfParameters(iterations=1), jobs=2)
    with pytest.raises(Exception, match="not-there"):
        label_scored(scored(), 2, survey.read_image, labelling, tmp_path / "labels")
    assert not (tmp_path / "labels").exists()


@pytest.mark.parametrize("tile_scale", [1.0, 0.5])
def test_rounds_refine_the_tiles_as_they_are_on_disk_and_decode_them_once(
    tmp_path: Path,
    survey: Survey,
    model: Model,
    tiny_config: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
    tile_scale: float,
) -> None:
    network = tiny_config.network.model_copy(update={"tile_scale": tile_scale})
    config = tiny_config.model_copy(update={"network": network, "cam": SCALES})
    tiles = load_tiles(survey, survey.splits["train"], GreyScaling(), tile_scale, store=tmp_path / "tiles")
    (tmp_path / "run").mkdir()
    read: list[str] = []
    original = GreyScaling.read

    def counted(self: GreyScaling, path: Path) -> np.ndarray:
        read.append(path.stem)
        return original(self, path)

    monkeypatch.setattr(GreyScaling, "read", counted)
    for start in range(2):
        targets = RoundTargets(tmp_path / "run", config, survey, model, tiles)
        for number in (1, 2):
            targets.of_round(number + 2 * start, lambda *_: None)
    assert sorted(read) == ([] if tile_scale == 1 else sorted(tiles.names))
    several = np.flatnonzero(tiles.multiclass).tolist()
    write_cams(model, tiles, several, tmp_path / "cams", SCALES)
    make_pseudo_labels(survey, tiles.names, tmp_path / "cams", tmp_path / "after", config.crf, GreyScaling())
    made = tmp_path / "run" / PSEUDO_LABELS / "round-3"
    for name in tiles.names:
        after, meanwhile = (
            np.asarray(Image.open(folder / f"{name}.png")) for folder in (tmp_path / "after", made)
        )
        np.testing.assert_array_equal(meanwhile, after)


def test_the_next_cams_are_begun_before_those_before_are_used(
    model: Model, tiles: Tiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr("sonarseg.cam.extract_split.activation_maps", full_from(10, seen))
    coming = stream_cams(model, tiles, [[0], [1], [2]], SCALES)
    begun = [(index, len(seen)) for index, _ in coming]
    assert begun == [(0, 2), (1, 3), (2, 3)]
