"""Pixels without data have no say in the dense CRF and get no label."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.files.refine import refine_files
from sonarseg.densecrf.files.scores import find_score_files
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine
from sonarseg.survey.scaling import GreyScaling
from tests.support.marginals import probabilities

SIZE = (20, 26)
VALID = np.ones(SIZE, bool)
VALID[:, :9] = False
RNG = np.random.default_rng(4)
IMAGE = np.where(VALID, RNG.integers(1, 256, SIZE), 0).astype(np.uint8)
SCORES = RNG.random((3, *SIZE), dtype=np.float32)
ENGINES = [Engine("numba"), Engine("pydensecrf"), Engine("torch", "cpu")]


def parameters(**more: object) -> CrfParameters:
    return CrfParameters.model_validate({"sigma_alpha": 8, "sigma_beta": 60, "iterations": 3, **more})


@pytest.mark.parametrize("engine", ENGINES, ids=str)
@pytest.mark.parametrize("unary", ["seeds", "soft"])
@pytest.mark.parametrize("background", [None, 1])
def test_scores_at_pixels_without_data_do_not_count(
    engine: Engine, unary: str, background: int | None
) -> None:
    other = SCORES.copy()
    other[:, ~VALID] = 0
    other[2, ~VALID] = 1
    shown = np.array([True, True, True])
    found = [
        refine(
            scores,
            IMAGE,
            parameters(unary=unary),
            shown=shown,
            valid=VALID,
            background_id=background,
            engine=engine,
        )
        for scores in (SCORES, other)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert ((found[0] == 255) == ~VALID).all()


@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_the_unary_is_flat_at_pixels_without_data(engine: Engine) -> None:
    marginals = probabilities(
        SCORES,
        IMAGE,
        parameters(iterations=0),
        shown=np.array([True, False, True]),
        valid=VALID,
        engine=engine,
    )
    np.testing.assert_allclose(marginals[[0, 2]][:, ~VALID], 0.5, atol=1e-6)
    assert np.abs(marginals[[0, 2]][:, VALID] - 0.5).max() > 0.1


@pytest.mark.parametrize("shown", [(1, 0, 0), (0, 0, 0), (1, 1, 0)])
@pytest.mark.parametrize("iterations", [0, 2])
def test_every_way_to_labels_leaves_out_pixels_without_data(shown: tuple[int, ...], iterations: int) -> None:
    settings = parameters(iterations=iterations)
    labels = refine(SCORES, IMAGE, settings, shown=np.array(shown, bool), valid=VALID)
    assert (labels[~VALID] == 255).all()
    assert (labels[VALID] == 255).all() == (not any(shown))


@pytest.mark.parametrize("probabilities", [False, True])
def test_refined_files_are_255_at_pixels_without_data(tmp_path: Path, probabilities: bool) -> None:
    for folder in ("scores", "images"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "scores" / "t.npy", SCORES)
    Image.fromarray(np.dstack([IMAGE, VALID.astype(np.uint8) * 255])).save(tmp_path / "images" / "t.png")
    files = find_score_files(tmp_path / "scores", tmp_path / "images", tmp_path / "out")
    refine_files(files, parameters(), GreyScaling(), probabilities=probabilities)
    labels = np.asarray(Image.open(tmp_path / "out" / "t.png"))
    assert ((labels == 255) == ~VALID).all()
