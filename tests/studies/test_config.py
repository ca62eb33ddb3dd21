from pathlib import Path

import pytest

from sonarseg.errors import UserError
from studies.config import StudyConfig, find_line, load_study_config

GOOD = """\
# a study
name = "reservoir"
survey = "../survey"

[network]
encoder = "resnet18"   # small

[crf]
trials = 20
sigma_alpha = [3, 50.5]

[loss]
trials = 9
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


def test_a_good_file_is_read_and_defaults_fill_the_rest(tmp_path: Path) -> None:
    config = load_study_config(_write(tmp_path, GOOD))
    assert config.crf.sigma_alpha == (3, 50.5)
    assert config.crf.iterations == (0, 10)
    assert config.metric == "miou_multiclass"
    assert config.loss.seeds == 1


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        (
            "trials = 20",
            "trials = 0",
            9,
            "crf.trials = 0 is wrong: expected a whole number of 1 or more.",
        ),
        ('"resnet18"', '"resnet19"', 6, 'network.encoder = "resnet19" is wrong'),
        ('"resnet18"', '"timm:"', 6, 'expected "resnet18" or "resnet34"'),
        ('"resnet18"', '"timm:"', 6, '"efficientnet_lite0" or "timm:NAME".'),
        ("trials = 20", "trails = 20", 9, "crf.trails is not a field of study.toml"),
        ("[3, 50.5]", "[30, 5]", 10, "[30, 5] must be [low, high]"),
        ("[3, 50.5]", "[3]", 10, "crf.sigma_alpha"),
        ("[network]", "[netwrok]", 5, "netwrok is not a field"),
        ('survey = "../survey"\n', "", 1, "survey is missing"),
        ("trials = 9", "trials = 5\nseeds = 3", 12, "seeds = 3 needs trials = 10 or more"),
        ("trials = 20", 'guides = ["median"]', 8, 'guides must hold "raw"'),
        ("trials = 20", 'trials = "many"', 9, 'crf.trials = "many" is wrong'),
        ("trials = 20", 'trials = "20"', 9, 'crf.trials = "20" is wrong'),
        ("trials = 20", "trials = true", 9, "crf.trials = true is wrong"),
        ("trials = 20", "trials = -3", 9, "crf.trials = -3 is wrong"),
        ("trials = 20", "trials = 2.5", 9, "crf.trials = 2.5 is wrong: expected a whole number of 1 or"),
        ("trials = 20", "patience = 0", 9, "crf.patience = 0 is wrong: expected a whole number of 1 or"),
        ("trials = 20", "race = 1", 9, "crf.race = 1 is wrong: expected true or false."),
        ("trials = 20", "sampler = 3", 9, 'crf.sampler = 3 is wrong: expected "auto" or "tpe" or'),
        (
            "trials = 20",
            "guides = []",
            9,
            'crf.guides = [] is wrong: expected a list of one or more, each "raw',
        ),
        ("trials = 20", 'guides = ["raw", "raw"]', 9, "[crf.guides] names a guide twice"),
        ("trials = 20", 'guides = ["raw", "blue"]', 9, 'crf.guides = "blue" is wrong'),
        (
            "trials = 20",
            "iterations = [0, 5000]",
            9,
            "[low, high], each a whole number from 0 to 1000.",
        ),
        ("[3, 50.5]", "[1e-9, 5]", 10, "expected [low, high], each a number from 0.001 to 1000000."),
        ("[3, 50.5]", "[3, nan]", 10, "crf.sigma_alpha = nan is wrong"),
        ("[3, 50.5]", "[3, inf]", 10, "crf.sigma_alpha = inf is wrong"),
        ("[3, 50.5]", "[3, 4, 5]", 10, "crf.sigma_alpha = [3, 4, 5] is wrong: expected [low, high]"),
        ("[3, 50.5]", "50.5", 10, "crf.sigma_alpha = 50.5 is wrong: expected [low, high]"),
        ("[network]", "[training]\nwarmup_epochs = 0\n[network]", 6, "training.warmup_epochs = 0 is wrong"),
        ("[network]", "[training]\nrounds = 0\n[network]", 6, "expected a whole number of 1 or more"),
        (
            "[network]",
            "[training]\nbatch_size = 0\n[network]",
            6,
            'training.batch_size = 0 is wrong: expected a whole number of 1 or more or "auto".',
        ),
        (
            "[network]",
            "[training]\nlearning_rate = nan\n[network]",
            6,
            "training.learning_rate = nan is wrong: expected a number above 0.",
        ),
        ("[network]", "[training]\npoly_power = inf\n[network]", 6, "training.poly_power = inf is wrong"),
        ("[network]", "[training]\nspeckle = 1\n[network]", 6, "expected a number of 0 or more and below 1."),
        ("[network]", "[cam]\nscales = []\n[network]", 6, "cam.scales = [] is wrong: expected a list of one"),
        ("[network]", "cam = 3\n[network]", 5, "cam = 3 is wrong: expected a section [cam] of names with"),
        (
            'survey = "../survey"',
            'survey = ""',
            3,
            'survey = "" is wrong: expected a text that is not empty.',
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, what: str
) -> None:
    assert old in GOOD
    path = _write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_study_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}: ")
    assert what in message
    assert "\n" not in message
    for foreign in ("nput should", "constrained", "literal", "tuple", "valid "):
        assert foreign not in message


def test_what_is_no_toml_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not valid TOML.*line 2"):
        load_study_config(_write(tmp_path, 'name = "a"\nsurvey = \n'))


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sonarseg init"):
        load_study_config(tmp_path / "study.toml")
    (tmp_path / "study.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(UserError, match=r"not UTF-8 text \(line 1 is not\)"):
        load_study_config(tmp_path / "study.toml")


@pytest.mark.parametrize(
    "saved",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("\n", "\r").encode(),
    ],
    ids=["byte-order mark", "mark and CRLF", "CR"],
)
def test_however_an_editor_saved_it(tmp_path: Path, saved: bytes) -> None:
    (tmp_path / "study.toml").write_bytes(saved)
    assert load_study_config(tmp_path / "study.toml").crf.sigma_alpha == (3, 50.5)
    (tmp_path / "study.toml").write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(UserError, match=r"study\.toml is not UTF-8 text.*save it as UTF-8"):
        load_study_config(tmp_path / "study.toml")


def test_lines_of_dotted_keys_and_unwritten_fields() -> None:
    text = 'a = 1\nb.c = 2\n[ d . "e" ]\nf = 3\n[[g]]\n'
    assert find_line(text, ["b", "c"]) == 2
    assert find_line(text, ["d", "e", "f"]) == 4
    assert find_line(text, ["d", "e", "missing"]) == 3
    assert find_line(text, ["nowhere"]) == 1


def test_search_space_is_what_the_objective_takes() -> None:
    config = StudyConfig(name="a", survey="b")
    assert config.crf.guides == ("raw", "median")
    assert "trials" in config.crf.model_dump()


def test_cmaes_searches_for_one_value(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('name = "n"\nsurvey = "s"\n[crf]\nsampler = "cmaes"\nweigh_seconds = true\n')
    with pytest.raises(
        UserError, match=r"study\.toml, line 3: .*searches for one value.*weigh_seconds = false"
    ):
        load_study_config(path)


@pytest.mark.parametrize(
    ("fields", "line", "what"),
    [
        (
            'form = "softmax"',
            15,
            r'\[cam\] form = "softmax" needs classes that compete: write loss = "candidate", or form = '
            r'"tile-max" or "survey-max"\.$',
        ),
        (
            'setting = "paper"\nloss = "candidate"',
            15,
            r'\[cam\] setting = "paper" stands for loss = "binary", form = "tile-max" and scales = '
            r'\[1\.0, 0\.5, 1\.5, 2\.0\]: leave out loss = "candidate", or the setting\.$',
        ),
        ('setting = "paper"\nscales = [1]', 15, r".*leave out scales = \[1\.0\], or the setting\.$"),
        ('loss = "softmax"', 16, r'cam\.loss = "softmax" is wrong: expected "binary" or "candidate"'),
    ],
)
def test_maps_that_do_not_go_together_are_said(tmp_path: Path, fields: str, line: int, what: str) -> None:
    with pytest.raises(UserError, match=f"line {line}: {what}"):
        load_study_config(_write(tmp_path, GOOD + f"\n[cam]\n{fields}\n"))


def test_the_setting_of_the_paper_is_binary_with_its_maps(tmp_path: Path) -> None:
    text = GOOD + '\n[cam]\nsetting = "paper"\n'
    cam = load_study_config(_write(tmp_path, text)).cam
    assert (cam.loss, cam.form, cam.scales) == ("binary", "tile-max", (1.0, 0.5, 1.5, 2.0))
