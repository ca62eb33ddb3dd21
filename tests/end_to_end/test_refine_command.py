"""`sonarseg refine`: the dense CRF on files."""

import numpy as np
import pytest
from command_line import sonarseg_here
from PIL import Image

from sonarseg.densecrf.published import published
from sonarseg.densecrf.refine import refine

CLASSES = 3


@pytest.fixture
def folders(tmp_path):
    generator = np.random.default_rng(0)
    scores, images = tmp_path / "scores", tmp_path / "images"
    scores.mkdir(), images.mkdir()
    for index in range(4):
        size = (30, 40) if index % 2 else (24, 33)
        grey = generator.integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(grey).save(images / f"tile{index}.png")
        np.save(scores / f"tile{index}.npy", generator.random((CLASSES, *size)).astype(np.float16))
    return scores, images, tmp_path / "out"


def run(folders, *options):
    return sonarseg_here("refine", *folders, *options, cwd=folders[0].parent)


def test_the_files_hold_what_refine_gives(folders):
    scores, images, out = folders
    result = run(folders, "--params", "iterations=3", "--params", "sigma_alpha=9")
    assert result.code == 0, result.err
    assert "4 tiles refined by numba on cpu" in result.out
    parameters = published("w-s3Tseg").model_copy(update={"iterations": 3, "sigma_alpha": 9.0})
    for path in scores.iterdir():
        image = np.asarray(Image.open(images / f"{path.stem}.png"))
        written = np.asarray(Image.open(out / f"{path.stem}.png"))
        np.testing.assert_array_equal(written, refine(np.load(path), image, parameters))
    assert sorted(path.name for path in out.iterdir()) == [f"tile{i}.png" for i in range(4)]
    (out / "tile2.png").unlink()
    again = run(folders, "--params", "iterations=3", "--params", "sigma_alpha=9")
    assert "1 tiles refined" in again.out
    assert "3 were there" in again.out


def test_labels_settings_and_engines(folders, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("tile,mud,sand,rock\n" + "".join(f"tile{i},1,0,{i % 2}\n" for i in range(4)))
    (tmp_path / "crf.toml").write_text('unary = "soft"\niterations = 2\n')
    options = ("--labels", "labels.csv", "--setting", "PSA", "--params", "crf.toml")
    for engine in ("pydensecrf", "torch"):
        out = tmp_path / engine
        result = run((*folders[:2], out), *options, "--engine", engine, "--background", "0")
        assert result.code == 0, result.err
        assert not np.asarray(Image.open(out / "tile0.png")).any()
        assert set(np.unique(Image.open(out / "tile1.png"))) <= {0, 2}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--params", "sigma_alfa=3"], "sigma_alfa is no dense CRF parameter: use sigma_alpha"),
        (["--params", "sigma_alpha=-3"], "sigma_alpha = -3 is wrong"),
        (["--params", "missing.toml"], "missing.toml is neither NAME=VALUE nor a TOML file"),
        (["--setting", "best"], '--setting "best" is none: use no-crf, w-s3tseg'),
        (["--engine", "fast"], '--engine "fast" is none: use auto, numba'),
        (["--background", "3"], "--background 3 is no class"),
        (["--labels", "none.csv"], "none.csv cannot be read"),
        (["--params", "sigma_gamma=1e-9"], "cannot resolve sigma_gamma 1e-09"),
    ],
)
def test_wrong_options_are_one_sentence(folders, options, sentence):
    result = run(folders, *options)
    assert sentence in result.sentence()
    assert not list(folders[2].glob("*")) if folders[2].exists() else True


def spoil(scores, images, how):
    path = scores / "tile1.npy"
    good = np.load(path)
    if how == "no picture":
        (images / "tile1.png").unlink()
    elif how == "other size":
        np.save(path, good[:, :20])
    elif how == "other classes":
        np.save(path, good[:2])
    elif how == "not floats":
        np.save(path, (good * 9).astype(np.int64))
    elif how == "broken":
        path.write_bytes(b"not a file of numbers")
    elif how == "not a number":
        good[0, 0, 0] = np.nan
        np.save(path, good)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("no picture", "holds no tile1.png or tile1.tif"),
        ("other size", "holds scores of 20 x 40 pixels"),
        ("other classes", "holds scores of 2 classes, but"),
        ("not floats", "holds int64 (3, 30, 40), expected float16 or float32 scores"),
        ("broken", "is not a NumPy file"),
        ("not a number", "holds NaN, infinite or negative values"),
    ],
)
def test_bad_scores_are_one_sentence(folders, how, sentence):
    spoil(*folders[:2], how)
    result = run(folders)
    assert "tile1" in result.sentence()
    assert sentence in result.sentence()
    assert not list(folders[2].glob("*.partial")) if folders[2].exists() else True
