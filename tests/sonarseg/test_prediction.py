"""Pixel maps of a model: what they hold, and which tiles are refused."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.prediction import find_pictures, predict_pictures
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.checkpoint.model import Model, build_network
from sonarseg.training.config import NetworkConfig, SonarGeometry
from sonarseg.training.data.tiles import Normalisation

GREY = np.random.default_rng(0).integers(0, 256, (24, 32), dtype=np.uint8)


VALID = np.ones(GREY.shape, bool)
VALID[:, :8] = False


def tiny_model(scaling: GreyScaling) -> Model:
    torch.manual_seed(0)
    config = NetworkConfig(decoder_channels=8, stages=2, tile_scale=1.0)
    return Model(
        build_network(config, scaling.channels, 3),
        ("mud", "rock", "weed"),
        None,
        scaling,
        Normalisation((0.5,) * scaling.channels, (0.25,) * scaling.channels),
        config,
        SonarGeometry(),
        torch.device("cpu"),
    )


@pytest.mark.parametrize(
    ("scaling", "tiles", "sentence"),
    [
        (GreyScaling(), [GREY, GREY.astype(np.uint16) * 257], r"t1\.png has 16 bits"),
        (GreyScaling(low=99, high=9000), [GREY.astype(np.uint16) * 30, GREY], r"t1\.png has 8 bits"),
    ],
)
def test_tiles_of_another_depth_are_refused_before_anything_is_written(
    tmp_path: Path, scaling: GreyScaling, tiles: list[np.ndarray], sentence: str
) -> None:
    pictures = {f"t{number}": tmp_path / f"t{number}.png" for number in range(len(tiles))}
    for path, tile in zip(pictures.values(), tiles, strict=True):
        Image.fromarray(tile).save(path)
    with pytest.raises(UserError, match=sentence):
        predict_pictures(tiny_model(scaling), pictures, tmp_path / "maps")
    assert not (tmp_path / "maps").exists()
    assert predict_pictures(tiny_model(scaling), {"t0": pictures["t0"]}, tmp_path / "maps").is_file()


def test_maps_leave_out_pixels_without_data(tmp_path: Path) -> None:
    pictures = {"part": tmp_path / "part.png", "none": tmp_path / "none.png"}
    Image.fromarray(np.dstack([GREY, VALID.astype(np.uint8) * 255])).save(pictures["part"])
    Image.fromarray(np.dstack([GREY, np.zeros_like(GREY)])).save(pictures["none"])
    table = predict_pictures(tiny_model(GreyScaling()), pictures, tmp_path / "maps")
    read = {
        (kind, tile): np.asarray(Image.open(tmp_path / "maps" / kind / f"{tile}.png"))
        for kind in ("masks", "confidence", "overlays")
        for tile in pictures
    }
    assert (read["masks", "part"] == 255).tolist() == (~VALID).tolist()
    assert not read["confidence", "part"][~VALID].any()
    assert read["confidence", "part"][VALID].all()
    assert not read["overlays", "part"][~VALID].any()
    assert (read["masks", "none"] == 255).all()
    with table.open() as file:
        rows = {row["tile"]: row for row in csv.DictReader(file)}
    names = ("mud", "rock", "weed")
    assert sum(int(rows["part"][f"{name} (pixels)"]) for name in names) == VALID.sum()
    assert sum(float(rows["part"][f"{name} (share)"]) for name in names) == pytest.approx(1, abs=1e-5)
    assert rows["part"]["pixels without data"] == str((~VALID).sum())
    assert [rows["none"][f"{name} (share)"] for name in names] == ["0.0"] * 3


def test_the_table_of_whole_tiles_has_no_column_for_no_data(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "t.png")
    table = predict_pictures(tiny_model(GreyScaling()), {"t": tmp_path / "t.png"}, tmp_path / "maps")
    assert "without data" not in table.read_text()


def test_pictures_are_found_as_in_surveys(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "b.jpg")
    Image.fromarray(GREY).save(tmp_path / "a.tif.png")
    (tmp_path / "._b.png").write_bytes(b"of another system")
    (tmp_path / "areas.csv").write_text("tile\n")
    found = find_pictures(tmp_path)
    assert {name: path.name for name, path in found.items()} == {"a.tif": "a.tif.png", "b": "b.jpg"}


def test_two_pictures_of_one_tile_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    Image.fromarray(GREY).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif and a\.png are two pictures of one tile: keep one"):
        find_pictures(tmp_path)
