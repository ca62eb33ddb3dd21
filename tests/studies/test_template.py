"""study.toml as `sonarseg init` writes it."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sonarseg.errors import UserError
from sonarseg.survey.layout import Survey
from studies.config import StudyConfig, load_study_config
from studies.template import (
    CPU_TILE_PIXELS,
    fit_settings,
    study_toml,
    survey_reference,
    tile_scale,
    write_study_toml,
)


def survey(background: str | None = None, tiles: int = 0) -> Survey:
    splits = {"train": tuple(f"t{i}" for i in range(tiles)), "val": (), "test": ()}
    return Survey(Path("/s/bay"), ("sand", "rock"), background, splits, {}, {}, {})


def fields(section: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += fields(kind, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def test_what_is_written_reads_back_as_the_same(tmp_path: Path) -> None:
    config = StudyConfig.model_validate(
        {
            "name": 'Bahía "norte" \\ 1\t',
            "survey": "../a survey",
            "background": "sand",
            "training": {"learning_rate": 1e-5},
            "cam": {"scales": [1.0]},
            "loss": {"prune": False},
        }
    )
    path = write_study_toml(tmp_path / "deep" / "ws", config)
    assert load_study_config(path) == config


def test_every_field_stands_in_the_file_with_a_comment() -> None:
    text = study_toml(StudyConfig(name="n", survey="s", background="b"))
    values = tomllib.loads(text)
    empty = {
        "cam.patience",
        "crf.patience",
        "loss.patience",
        "cam.setting",
        "network.branch_channels",
        "training.warmup_rate",
        "cam.trials",
    }
    assert text.count("# patience = 40 ") == 3 and text.count('# setting = "paper" ') == 1
    for dotted in fields(StudyConfig):
        if dotted in empty:
            continue
        place = values
        for key in dotted.split("."):
            assert key in place, dotted
            place = place[key]
    for line in text.splitlines():
        if line and not line.startswith("#"):
            assert len(line.split("  # ", 1)[1]) > 5, line


def test_no_background_is_a_comment_to_fill_in() -> None:
    text = study_toml(StudyConfig(name="n", survey="s"))
    assert '# background = ""' in text
    assert "background" not in tomllib.loads(text)


def test_an_existing_study_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("mine")
    with pytest.raises(UserError, match=r"study\.toml exists and is not overwritten"):
        write_study_toml(tmp_path, StudyConfig(name="n", survey="s"))
    assert (tmp_path / "study.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [
        (83, 166, 1.0),
        (128, 128, 1.0),
        (216, 240, 0.5),
        (256, 256, 0.5),
        (480, 320, 0.25),
        (1000, 1000, 0.125),
    ],
)
def test_tiles_are_shrunk_to_fit_the_cpu(height: int, width: int, scale: float) -> None:
    assert tile_scale([(height, width)], CPU_TILE_PIXELS) == scale


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), min_size=1, max_size=9))
def test_the_median_tile_fits_at_the_scale(sizes: list[tuple[int, int]]) -> None:
    scale = tile_scale(sizes, CPU_TILE_PIXELS)
    median = sorted(h * w for h, w in sizes)[len(sizes) // 2]
    assert 0 < scale <= 1
    assert median * scale**2 <= CPU_TILE_PIXELS


@pytest.mark.parametrize("cuda", [False, True])
def test_settings_without_pretrained_weights_are_valid(cuda: bool) -> None:
    settings = fit_settings(survey("sand"), [(100, 100)], cuda=cuda, pretrained=False)
    config = StudyConfig.model_validate({**settings, "survey": "x"})
    assert config.background == "sand"
    assert config.name == "bay"
    assert config.network.encoder == ("resnet50" if cuda else "resnet18")
    assert config.network.encoder_training == "end-to-end"
    assert config.training.batch_size == ("auto" if cuda else 16)


@pytest.mark.parametrize(
    ("size", "scale", "cell"),
    [
        ((96, 96), 1.0, 4),
        ((83, 166), 1.0, 4),
        ((216, 240), 1.0, 8),
        ((480, 320), 1.0, 8),
        ((900, 1200), 0.45, 8),
    ],
)
def test_with_pretrained_weights_the_encoder_is_frozen(
    size: tuple[int, int], scale: float, cell: int
) -> None:
    settings = fit_settings(survey("sand"), [size], cuda=False, pretrained=True)
    config = StudyConfig.model_validate({**settings, "survey": "x"})
    network = config.network
    assert (network.encoder, network.encoder_training) == ("efficientnet_lite0", "frozen")
    assert (network.tile_scale, network.cell) == (scale, cell)
    assert (config.cam.loss, config.cam.form, config.cam.scales) == ("candidate", "softmax", (1.0,))


@pytest.mark.parametrize(
    ("background", "tiles", "cuda", "training"),
    [
        (None, 1000, False, "fine-tune"),
        (None, 2000, False, "frozen"),
        (None, 2000, True, "fine-tune"),
        ("sand", 10, False, "frozen"),
        ("sand", 10, True, "frozen"),
    ],
)
def test_the_encoder_is_tuned_if_there_is_time_and_no_background(
    background: str | None, tiles: int, cuda: bool, training: str
) -> None:
    bay = survey(background, tiles)
    settings = fit_settings(bay, [(200, 250)], cuda=cuda, pretrained=True)
    assert settings["network"]["encoder_training"] == training
    StudyConfig.model_validate({**settings, "survey": "x"})


def test_the_survey_is_named_relative_to_the_workspace(tmp_path: Path) -> None:
    root, workspace = tmp_path / "data" / "bay", tmp_path / "work" / "ws"
    reference = survey_reference(root, workspace)
    assert reference == "../../data/bay"
    assert (workspace / reference).resolve() == root.resolve()


def test_the_scale_does_not_depend_on_the_order_of_tiles() -> None:
    sizes = [(int(h), int(w)) for h, w in np.random.default_rng(0).integers(20, 500, (9, 2))]
    assert tile_scale(sizes, CPU_TILE_PIXELS) == tile_scale(sizes[::-1], CPU_TILE_PIXELS)


def test_a_cam_study_that_is_off_is_a_comment_to_fill_in() -> None:
    config = StudyConfig(name="n", survey="s")
    assert "\n# trials = 30 " in study_toml(config)
    on = StudyConfig.model_validate({**config.model_dump(), "cam": {"trials": 20}})
    assert "# trials = " not in study_toml(on) and tomllib.loads(study_toml(on))["cam"]["trials"] == 20
