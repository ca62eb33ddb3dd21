"""The dense CRF on files: what is found, what is refused, what is written."""

import numpy as np
import pytest
from PIL import Image

from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.files.refine import refine_files
from sonarseg.densecrf.files.scores import find_score_files
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine
from sonarseg.errors import UserError
from sonarseg.survey.importers.shown_table import read_shown
from sonarseg.survey.scaling import GreyScaling, scaling_of
from tests.support.marginals import probabilities

CLASSES = 3
SIZE = (24, 33)
PARAMETERS = CrfParameters(sigma_alpha=9, iterations=3, unary="soft")


@pytest.fixture
def folders(tmp_path):
    generator = np.random.default_rng(0)
    scores, images = tmp_path / "scores", tmp_path / "images"
    scores.mkdir(), images.mkdir()
    for index in range(3):
        Image.fromarray(generator.integers(0, 256, SIZE, dtype=np.uint8)).save(images / f"t{index}.png")
        np.save(scores / f"t{index}.npy", generator.random((CLASSES, *SIZE), dtype=np.float32))
    return scores, images, tmp_path / "out"


def picture(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("engine", [Engine("numba"), Engine("pydensecrf")], ids=str)
@pytest.mark.parametrize("background", [None, 1])
def test_probabilities_are_those_of_refine_and_labels_their_highest(folders, engine, background):
    scores, images, out = folders
    shown = {f"t{index}": np.arange(CLASSES) <= index for index in range(3)}
    written = refine_files(
        find_score_files(*folders),
        PARAMETERS,
        GreyScaling(),
        engine=engine,
        shown=shown,
        background_id=background,
        probabilities=True,
        jobs=2,
    )
    assert written == 3
    for name, kept in shown.items():
        options = {"shown": kept, "background_id": background, "engine": engine}
        tile = np.load(scores / f"{name}.npy"), picture(images / f"{name}.png"), PARAMETERS
        expected = probabilities(*tile, **options)
        found = np.load(out / f"{name}.npy")
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, expected.astype(np.float16))
        np.testing.assert_array_equal(picture(out / f"{name}.png"), refine(*tile, **options))
    assert {path.name for path in out.iterdir()} == {"refine.json"} | {
        f"{name}{suffix}" for name in shown for suffix in (".png", ".npy")
    }


def test_what_is_there_is_left_alone_unless_overwritten(folders):
    _, _, out = folders
    files = find_score_files(*folders)
    out.mkdir()
    (out / "t1.png").write_bytes(b"mine")
    assert refine_files(files, PARAMETERS, GreyScaling()) == 2
    assert refine_files(files, PARAMETERS, GreyScaling()) == 0
    assert (out / "t1.png").read_bytes() == b"mine"
    assert refine_files(files, PARAMETERS, GreyScaling(), overwrite=True) == 3
    assert picture(out / "t1.png").shape == SIZE
    (out / "t0.npy").write_bytes(b"")
    assert refine_files(files, PARAMETERS, GreyScaling(), probabilities=True) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"parameters": PARAMETERS.model_copy(update={"sigma_alpha": 30.0})}, "sigma_alpha = 9"),
        ({"engine": Engine("pydensecrf")}, "engine = numba, now it is pydensecrf"),
        ({"background_id": 1}, "background = None, now it is 1"),
        ({"shown": {f"t{index}": np.ones(CLASSES, bool) for index in range(3)}}, "labels = False"),
        ({"scaling": GreyScaling(low=3, high=200)}, "grey levels"),
    ],
    ids=str,
)
def test_another_setting_in_the_same_folder_is_refused(folders, change, says):
    files = find_score_files(*folders)
    refine_files(files, PARAMETERS, GreyScaling())
    (folders[2] / "t2.png").unlink()
    options = {"parameters": PARAMETERS, "scaling": GreyScaling()} | change
    with pytest.raises(UserError, match=says) as caught:
        refine_files(files, **options)
    assert "refine.json" in str(caught.value) and "\n" not in str(caught.value)
    assert not (folders[2] / "t2.png").exists()
    assert refine_files(files, PARAMETERS, GreyScaling()) == 1


def test_an_overwriting_that_was_stopped_is_finished_by_overwriting(folders):
    files = find_score_files(*folders)
    refine_files(files, PARAMETERS, GreyScaling())
    other = PARAMETERS.model_copy(update={"sigma_alpha": 30.0})

    def stop(what, done, total, note=""):
        if what == "refining":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine_files(files, other, GreyScaling(), overwrite=True, progress=stop)
    for parameters in (PARAMETERS, other):
        with pytest.raises(UserError, match="finish with the same command and --overwrite"):
            refine_files(files, parameters, GreyScaling())
    assert refine_files(files, other, GreyScaling(), overwrite=True) == 3
    assert refine_files(files, other, GreyScaling()) == 0


def test_a_settings_file_that_cannot_be_read_is_named(folders):
    files = find_score_files(*folders)
    folders[2].mkdir()
    for text in ("{", "[1]"):
        files.settings.write_text(text)
        with pytest.raises(UserError, match=r"refine\.json cannot be read"):
            refine_files(files, PARAMETERS, GreyScaling())


def test_a_failed_write_leaves_nothing(folders, monkeypatch):
    def fail(self, target):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        refine_files(find_score_files(*folders), PARAMETERS, GreyScaling(), probabilities=True)
    assert not list(folders[2].iterdir())


def test_one_bad_tile_keeps_the_others(folders):
    scores, _, out = folders
    spoilt = np.load(scores / "t1.npy")
    spoilt[0, 0, 0] = np.nan
    np.save(scores / "t1.npy", spoilt)
    with pytest.raises(UserError, match=r"t1\.npy holds NaN"):
        refine_files(find_score_files(*folders), PARAMETERS, GreyScaling())
    assert {path.name for path in out.iterdir()} == {"t0.png", "refine.json"}


@pytest.mark.parametrize("wrong", [-0.1, 1.5, np.inf])
def test_scores_that_are_none(folders, wrong):
    np.save(folders[0] / "t0.npy", np.full((CLASSES, *SIZE), wrong, dtype=np.float32))
    with pytest.raises(UserError, match="expected scores from 0 to 1"):
        refine_files(find_score_files(*folders), PARAMETERS, GreyScaling())
    assert not folders[2].exists()


def test_jpeg_and_tiff_and_hidden_files(folders):
    scores, images, _ = folders
    for index, suffix in ((0, "JPG"), (1, "tiff")):
        old = images / f"t{index}.png"
        Image.open(old).save(old.with_suffix(f".{suffix}"), format="JPEG" if suffix == "JPG" else "TIFF")
        old.unlink()
    (scores / "._t0.npy").write_bytes(b"of another system")
    files = find_score_files(*folders)
    assert [path.name for path in files.pictures.values()] == ["t0.JPG", "t1.tiff", "t2.png"]
    assert scaling_of(list(files.pictures.values())) == GreyScaling()
    assert refine_files(files, PARAMETERS, GreyScaling()) == 3
    Image.fromarray(np.arange(24 * 33 * 3, dtype=np.uint8).reshape(*SIZE, 3)).save(images / "t0.JPG")
    assert scaling_of(list(files.pictures.values())).channels == 3
    (images / "t0.JPG").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"t0\.JPG cannot be read"):
        find_score_files(*folders)


def test_depths_are_not_mixed(folders):
    _, images, _ = folders
    deep = np.linspace(500, 9000, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16)
    Image.fromarray(deep).save(images / "t1.png")
    files = find_score_files(*folders)
    with pytest.raises(UserError, match=r"has 8 bits but .* has 16"):
        scaling_of(list(files.pictures.values()))
    # As where the sample that the scaling is found from holds no such picture.
    with pytest.raises(UserError, match=r"t1\.png has 16 bits"):
        refine_files(files, PARAMETERS, GreyScaling())
    with pytest.raises(UserError, match=r"t0\.png has 8 bits"):
        refine_files(files, PARAMETERS, GreyScaling(low=500, high=9000), overwrite=True)
    Image.open(images / "t0.png").save(images / "t0.jpg")
    (images / "t0.png").unlink()
    with pytest.raises(UserError, match=r"t0\.jpg has 8 bits but .*t1\.png has 16"):
        scaling_of([images / "t0.jpg", images / "t1.png"])


def test_inputs_are_not_overwritten(folders):
    scores, images, _ = folders
    with pytest.raises(UserError, match="is the folder of the pictures"):
        find_score_files(scores, images, images)
    files = find_score_files(scores, images, scores)
    with pytest.raises(UserError, match=r"t0\.npy is an input"):
        refine_files(files, PARAMETERS, GreyScaling(), probabilities=True)
    one = find_score_files(scores / "t0.npy", images / "t0.png", images / "t0.png")
    with pytest.raises(UserError, match=r"t0\.png is an input"):
        refine_files(one, PARAMETERS, GreyScaling())


TABLE = "tile,mud,sand,rock\nt0.png,1,0,0\n t1,0,1,1\n"


@pytest.mark.parametrize(
    ("table", "classes", "background", "expected"),
    [
        (TABLE, None, None, [[1, 0, 0], [0, 1, 1]]),
        (TABLE, "rock\nsand\nmud\n", None, [[0, 0, 1], [1, 1, 0]]),
        (TABLE, None, 2, [[1, 0, 1], [0, 1, 1]]),
        ("rock,tile,sand\n0,t0,1\n1,t1,1\n", None, 1, [[0, 1, 1], [1, 1, 1]]),
        ("rock,tile,sand\n0,t0,1\n1,t1,1\n", "sand\nmud\nrock", 1, [[1, 1, 0], [1, 1, 1]]),
    ],
)
def test_label_tables(tmp_path, table, classes, background, expected):
    (tmp_path / "labels.csv").write_text(table)
    if classes:
        (tmp_path / "classes.txt").write_text(classes)
    shown = read_shown(tmp_path / "labels.csv", ["t0", "t1"], CLASSES, background)
    np.testing.assert_array_equal([shown["t0"], shown["t1"]], np.array(expected, dtype=bool))


@pytest.mark.parametrize(
    ("table", "classes", "says"),
    [
        ("", None, "is missing or empty"),
        ("tile,mud,sand\nt0,1,0\n", None, 'has the columns "tile,mud,sand", expected tile and one for each'),
        ("name,mud,sand,rock\nt0,1,0,1\n", None, "expected tile"),
        ("tile,mud,sand,sand\nt0,1,0,1\n", None, "expected tile"),
        (TABLE, "rock\nsand\nsilt\n", "as in classes.txt"),
        (TABLE, "rock\nsand\n", "3 classes"),
        ("tile,mud,sand,rock\nt0,1,0\n", None, 'line 2, column "rock": expected 0 or 1, found ""'),
        ("tile,mud,sand,rock\nt0,1,0,yes\n", None, 'line 2, column "rock": expected 0 or 1, found "yes"'),
        ("tile,mud,sand,rock\nt0,1,0,1\n", None, "has no row for the tile t1"),
        (TABLE + "t0,0,1,0\n", None, "line 4: the tile t0 has a row in line 2: keep one"),
        (TABLE + "t1.tif,0,1,1\n", None, "line 4: the tile t1 has a row in line 3: keep one"),
        (TABLE + ",0,1,1\n", None, "line 4 names no tile"),
        (TABLE.replace("1,0,0", "1,0,0,1"), None, "line 2 has 5 cells, the first has 4"),
        (TABLE.replace(",", ";"), None, "separate the columns by commas"),
        (TABLE, "mud\nsand\nrock\nmud\n", 'names the class "mud" again'),
    ],
)
def test_label_tables_that_are_wrong(tmp_path, table, classes, says):
    (tmp_path / "labels.csv").write_text(table)
    if classes:
        (tmp_path / "classes.txt").write_text(classes)
    with pytest.raises(UserError) as error:
        read_shown(tmp_path / "labels.csv", ["t0", "t1"], CLASSES)
    assert says in str(error.value)


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 4)])
def test_scores_of_one_class_are_refused(tmp_path, shape):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.full(shape, 0.5, np.float32))
    with pytest.raises(UserError, match=r"one class leaves nothing to decide: write all classes, the back"):
        find_score_files(tmp_path / "a.npy", tmp_path / "a.png", tmp_path / "out.png")
