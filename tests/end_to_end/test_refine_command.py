"""`sonarseg refine`: the dense CRF on files."""

import json
import signal

import numpy as np
import pytest
from PIL import Image

from sonarseg.densecrf.published import published
from sonarseg.densecrf.refine import refine
from sonarseg.survey.pictures import read_picture
from sonarseg.survey.scaling import scaling_of
from tests.support.command_line import finish, sonarseg, sonarseg_here, start, wait_for
from tests.support.marginals import probabilities

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
    options = ("--params", "iterations=3", "--param", "sigma_alpha=9")
    result = sonarseg("refine", *folders, *options, cwd=folders[0].parent)
    assert result.code == 0, result.err
    assert "4 tiles of 3 classes, grey pictures used as they are" in result.out
    assert "refining 4/4: numba on cpu" in result.out
    assert "4 tiles refined by numba on cpu in " in result.out
    assert " tiles a second: " in result.out
    parameters = published("w-s3Tseg").model_copy(update={"iterations": 3, "sigma_alpha": 9.0})
    for path in scores.iterdir():
        image = np.asarray(Image.open(images / f"{path.stem}.png"))
        written = np.asarray(Image.open(out / f"{path.stem}.png"))
        np.testing.assert_array_equal(written, refine(np.load(path), image, parameters))
    assert sorted(path.name for path in out.iterdir()) == ["refine.json", *(f"tile{i}.png" for i in range(4))]
    (out / "tile2.png").unlink()
    again = run(folders, *options)
    assert "1 tiles refined" in again.out
    assert "3 tiles skipped: they were there" in again.out
    assert "4 tiles refined" in run(folders, *options, "--overwrite").out


def test_one_file_with_probabilities(folders, tmp_path):
    scores, images, _ = folders
    files = (scores / "tile0.npy", images / "tile1.png", tmp_path / "new" / "one.png")
    assert "tile1.png is 30 x 40" in run(files).sentence()
    files = (scores / "tile0.npy", images / "tile0.png", tmp_path / "new" / "one.png")
    result = run(files, "--probabilities", "--setting", "PSA", "--background", "1")
    assert result.code == 0, result.err
    image = np.asarray(Image.open(files[1]))
    expected = probabilities(np.load(files[0]), image, published("PSA"), background_id=1)
    np.testing.assert_array_equal(np.load(files[2].with_suffix(".npy")), expected.astype(np.float16))
    np.testing.assert_array_equal(np.asarray(Image.open(files[2])), expected.argmax(axis=0))
    assert "out is not a .png file" in run((*files[:2], tmp_path / "out")).sentence()
    assert "images is not a .png or .tif" in run((files[0], images, files[2])).sentence()


def test_deep_pictures_are_scaled_alike(folders):
    scores, images, out = folders
    for path in images.iterdir():
        Image.fromarray(700 + 30 * np.asarray(Image.open(path)).astype(np.uint16)).save(path)
    result = run(folders)
    assert result.code == 0, result.err
    assert "grey pictures: levels 7" in result.out
    assert "become 0 to 255 in all of them" in result.out
    scaling = scaling_of(sorted(images.iterdir()))
    image = scaling.apply(read_picture(images / "tile3.png"))
    expected = refine(np.load(scores / "tile3.npy"), image, published("w-s3Tseg"))
    np.testing.assert_array_equal(np.asarray(Image.open(out / "tile3.png")), expected)


@pytest.mark.parametrize("options", [(), ("--engine", "pydensecrf", "--probabilities")])
def test_ctrl_c_leaves_whole_files_and_the_same_command_goes_on(folders, options):
    scores, images, out = folders
    generator = np.random.default_rng(2)
    grey = generator.integers(0, 256, (300, 400), dtype=np.uint8)
    for index in range(4):
        Image.fromarray(grey).save(images / f"tile{index}.png")
        np.save(scores / f"tile{index}.npy", generator.random((CLASSES, *grey.shape)).astype(np.float16))
    command = ("refine", *folders, "--jobs", 1, "--param", "iterations=30", *options)
    process = start(*command, cwd=scores.parent)
    wait_for(lambda: len(list(out.glob("*.png"))) > 0 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    stopped = finish(process)
    assert stopped.code == 130, stopped
    assert stopped.err.strip() == "stopped; the same command resumes"
    pictures = sorted(out.glob("*.png"))
    assert 0 < len(pictures) < 4
    assert not list(out.glob("*.partial"))
    assert all(np.asarray(Image.open(path)).shape == grey.shape for path in pictures)
    again = run(folders, *command[4:])
    assert f"{len(pictures)} tiles skipped" in again.out
    assert f"{4 - len(pictures)} tiles refined" in again.out


def test_parameter_files(folders, tmp_path):
    (tmp_path / "crf.json").write_text(json.dumps({"iterations": 0, "unary": "soft"}))
    result = run(folders, "--param", "iterations=1", "--params", "crf.json")
    assert result.code == 0, result.err
    parameters = published("w-s3Tseg").model_copy(update={"iterations": 1, "unary": "soft"})
    image = np.asarray(Image.open(folders[1] / "tile0.png"))
    expected = refine(np.load(folders[0] / "tile0.npy"), image, parameters)
    np.testing.assert_array_equal(np.asarray(Image.open(folders[2] / "tile0.png")), expected)
    for text, says in (("{", "cannot be read"), ("[1]", "holds no names with values")):
        (tmp_path / "crf.json").write_text(text)
        assert says in run(folders, "--params", "crf.json").sentence()


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
        (["--params", "missing.toml"], "missing.toml is missing"),
        (["--params", "crf.yaml"], "crf.yaml is neither NAME=VALUE nor a .toml or .json file"),
        (["--device", "abacus"], "abacus"),
        (["--setting", "best"], '--setting "best" is none: use no-crf, w-s3tseg'),
        (["--engine", "fast"], '--engine "fast" is none: use auto, numba'),
        (["--background", "3"], "--background 3 is no class"),
        (["--labels", "none.csv"], "none.csv is missing or empty"),
        (
            ["--params", "sigma_gamma=1e-9"],
            "sigma_gamma = 1e-9 is wrong: expected a number from 0.001 to 1000000",
        ),
    ],
)
def test_wrong_options_are_one_sentence(folders, options, sentence):
    result = run(folders, *options)
    assert sentence in result.sentence()
    assert not folders[2].exists()


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
        ("no picture", "holds no tile1.png, .tif or .jpg"),
        ("other size", "holds scores of 20 x 40 pixels"),
        ("other classes", "holds scores of 2 classes, but"),
        ("not floats", "holds int64 (3, 30, 40), expected float16 or float32 scores"),
        ("broken", "is not a NumPy file"),
        ("not a number", "holds NaN, expected scores from 0 to 1"),
    ],
)
def test_bad_scores_are_one_sentence(folders, how, sentence):
    spoil(*folders[:2], how)
    result = run(folders)
    assert "tile1" in result.sentence()
    assert sentence in result.sentence()
    written = list(folders[2].iterdir()) if folders[2].exists() else []
    assert {path.name for path in written} <= {"tile0.png", "refine.json"}
