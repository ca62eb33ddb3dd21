"""Pixel maps of a model: what they hold, and which tiles are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.prediction import predict_pictures
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.config import NetworkConfig, SonarGeometry
from sonarseg.training.model_file import Model, build_network
from sonarseg.training.tiles import Normalisation

GREY = np.random.default_rng(0).integers(0, 256, (24, 32), dtype=np.uint8)


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
