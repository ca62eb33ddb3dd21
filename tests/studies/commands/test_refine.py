"""What `sonarseg refine --params` takes."""

from pathlib import Path

import pytest

from sonarseg.errors import UserError
from sonarseg.losses.config import LossConfig
from sonarseg.survey.scaling import GreyScaling
from studies.commands.lone_runs.settings import Wishes, _loss
from studies.commands.refine import _levels, crf_parameters
from studies.server_address import read_address
from studies.workspace import Workspace

MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("name", "text"), [("a.toml", b"sigma_alpha = 9"), ("a.json", b'{"sigma_alpha": 9}')]
)
def test_files_with_a_byte_order_mark(tmp_path: Path, name: str, text: bytes) -> None:
    (tmp_path / name).write_bytes(MARK + text)
    assert crf_parameters("w-s3tseg", [str(tmp_path / name)], 1).sigma_alpha == 9


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sigma_alpha = true", "sigma_alpha = true is wrong: expected a number from 0.001 to 1000000."),
        ('sigma_alpha = "9"', "sigma_alpha = 9 is wrong"),
        ("sigma_alpha = nan", "sigma_alpha = nan is wrong"),
        ("iterations = 2.5", "iterations = 2.5 is wrong: expected a whole number from 0 to 1000."),
        ("gt_prob = 0.5", "gt_prob = 0.5 is wrong: expected a number above 0.5 and below 1."),
        ("sigma_alfa = 3", "sigma_alfa is no dense CRF parameter: use sigma_alpha"),
        ("sigma_alpha = 3\nsigma_alpha = 4", "not valid TOML"),
    ],
)
def test_wrong_values_of_a_file_name_it(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "crf.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        crf_parameters("w-s3tseg", [str(path)], 1)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("param", "says"),
    [
        ("sigma_alpha=nan", "sigma_alpha = nan is wrong: expected a number from"),
        ("sigma_alpha=true", "sigma_alpha = true is wrong: expected a number from"),
        ("guide=blue", 'guide = blue is wrong: expected "raw" or "log" or "median" or "lee".'),
    ],
)
def test_wrong_values_typed(param: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        crf_parameters("w-s3tseg", [param], 1)
    assert str(caught.value).startswith(f"--params: {says}")


@pytest.mark.parametrize("gamma", [-1.0, float("nan")])
def test_a_wrong_gamma_of_a_lone_run(tmp_path: Path, gamma: float) -> None:
    with pytest.raises(UserError, match=r"^--gamma = .* is wrong: expected a number of 0 or more\.$"):
        _loss(Workspace(tmp_path), Wishes(loss="focal", gamma=gamma))
    assert _loss(Workspace(tmp_path), Wishes(loss="focal", gamma=1.0)) == LossConfig(name="focal", gamma=1.0)


def test_the_address_of_a_server_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "storage.toml"
    path.write_bytes(MARK + b'url = "postgresql://me@host/db"\r\nname = "study"\r\n')
    address = read_address(path)
    assert address is not None
    assert address.name == "study"
    path.write_bytes(path.read_text("utf-8-sig").encode("utf-16"))
    with pytest.raises(UserError, match=r"storage\.toml is not UTF-8 text"):
        read_address(path)


def test_levels_of_floating_point_numbers_are_told_with_their_digits() -> None:
    assert _levels(GreyScaling()) == "grey pictures used as they are"
    floating = GreyScaling(low=0.00012, high=0.25, bits=32)
    assert "levels 0.00012 to 0.25 become 0 to 255" in _levels(floating)
    assert "levels 492 to 2004 become" in _levels(GreyScaling(low=492.2, high=2003.9, channels=3))
