import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from optuna.trial import FixedTrial, TrialState
from PIL import Image

from objectives.crf import CrfObjective
from objectives.racing import Incumbent, incumbent_of
from objectives.records.partial import read_partial
from objectives.space import CrfRanges, named_crf_settings
from objectives.tuning_tiles import TuningTile, prepare_tiles
from sonarseg.cam.files import read_cam, write_cam
from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.errors import UserError
from sonarseg.evaluation import evaluate_crf
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.iou import METRICS
from sonarseg.survey.layout import Survey, open_survey
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.config import CamConfig
from tests.support.tiny_survey import CLASSES, write_cams, write_survey

SCALING = GreyScaling(low=0, high=255, channels=1)
RANGES = CrfRanges(guides=("raw", "median"))


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    root = write_survey(tmp_path_factory.mktemp("crf") / "survey")
    write_cams(root, root.parent / "cams")
    return open_survey(root)


@pytest.fixture(scope="module")
def objective(survey: Survey, tmp_path_factory: pytest.TempPathFactory) -> CrfObjective:
    folder = tmp_path_factory.mktemp("tiles")
    tiles = prepare_tiles(
        survey, survey.splits["val"], survey.root.parent / "cams" / "val", SCALING, RANGES.guides, folder
    )
    return CrfObjective(tiles, CLASSES, None, RANGES, "miou_multiclass")


@pytest.mark.parametrize(
    "parameters",
    [
        CrfParameters(iterations=0),
        CrfParameters(iterations=3, guide="median"),
        CrfParameters(iterations=2, unary="soft", unary_scale=2),
    ],
)
def test_a_trial_scores_what_evaluate_scores(
    survey: Survey, objective: CrfObjective, parameters: CrfParameters
) -> None:
    """The filtered guides and mapped files of a study give the labels of the plain path."""
    plain = evaluate_crf(survey, "val", survey.root.parent / "cams", parameters, SCALING)
    assert np.array_equal(objective.histories(parameters, parameters.iterations)[:, -1], plain.confusions)


@pytest.mark.parametrize("unary", ["seeds", "soft"])
def test_tiles_with_pixels_without_data_score_the_same_as_by_evaluate(tmp_path: Path, unary: str) -> None:
    root = write_survey(tmp_path / "survey")
    write_cams(root, tmp_path / "cams")
    for path in (root / "images").iterdir():
        grey = np.asarray(Image.open(path))
        opaque = np.full(grey.shape, 255, np.uint8)
        opaque[:, :7] = 0
        Image.fromarray(np.dstack([grey, opaque])).save(path)
    survey, parameters = open_survey(root), CrfParameters.model_validate({"unary": unary, "iterations": 2})
    tiles = prepare_tiles(
        survey, survey.splits["val"], tmp_path / "cams" / "val", SCALING, RANGES.guides, tmp_path
    )
    objective = CrfObjective(tiles, CLASSES, None, RANGES, "miou")
    found = objective.histories(parameters, 2)[:, -1]
    assert (found.sum(axis=(1, 2)) == 20 * 17).all()
    plain = evaluate_crf(survey, "val", tmp_path / "cams", parameters, SCALING)
    np.testing.assert_array_equal(found, plain.confusions)


@pytest.mark.parametrize("engine", [Engine("numba"), Engine("pydensecrf"), Engine("torch")], ids=str)
def test_threads_and_processes_give_the_same_as_one(objective: CrfObjective, engine: Engine) -> None:
    parameters = CrfParameters(iterations=2)
    one = CrfObjective(objective.tiles, CLASSES, None, RANGES, "miou", engine)
    several = CrfObjective(objective.tiles, CLASSES, None, RANGES, "miou", engine, jobs=2)
    assert np.array_equal(several.histories(parameters, 3), one.histories(parameters, 3))
    shares = np.abs(one.histories(parameters, 3) - objective.histories(parameters, 3)).sum() / 2
    assert shares <= 0.001 * one.histories(parameters, 3).sum()


def test_a_trial_stores_what_every_metric_needs(objective: CrfObjective) -> None:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(named_crf_settings(1, False)["no CRF"])
    study.optimize(objective, n_trials=1)
    (trial,) = study.trials
    confusions = unpack_confusions(trial.user_attrs["confusions"])
    assert confusions.shape == (5, 2, 2)
    assert confusions.sum() == 5 * 20 * 24
    assert trial.value == trial.user_attrs["metrics"]["miou_multiclass"]
    assert trial.user_attrs["seconds"] >= 0


def test_a_published_setting_is_run_outside_narrow_ranges(objective: CrfObjective) -> None:
    narrow = CrfRanges(guides=("raw",), sigma_alpha=(2, 4), iterations=(1, 2))
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(named_crf_settings(1, False)["IRN"], user_attrs={"name": "IRN", "enqueued": True})
    study.optimize(CrfObjective(objective.tiles, CLASSES, None, narrow, "miou"), n_trials=3)
    assert study.trials[0].params["sigma_alpha"] == 50
    assert all(2 <= trial.params["sigma_alpha"] <= 4 for trial in study.trials[1:])


def test_background_score_reaches_the_labels(survey: Survey, tmp_path: Path) -> None:
    with_background = open_survey(survey.root, background="mud")
    tiles = prepare_tiles(
        with_background,
        with_background.splits["val"],
        survey.root.parent / "cams" / "val",
        SCALING,
        ("raw",),
        tmp_path,
    )
    objective = CrfObjective(tiles, CLASSES, 0, CrfRanges(guides=("raw",)), "miou")
    predicted = {}
    for score in (0.05, 0.9):
        params = named_crf_settings(1, True)["no CRF"] | {"background_score": score}
        trial = FixedTrial(params)
        objective(trial)  # type: ignore[arg-type]
        predicted[score] = unpack_confusions(trial.user_attrs["confusions"]).sum(axis=(0, 1))
    assert predicted[0.9][0] > predicted[0.05][0]


def test_a_background_that_competes_is_prepared_as_any_class(survey: Survey, tmp_path: Path) -> None:
    opened, cams = open_survey(survey.root, background="mud"), survey.root.parent / "cams" / "val"
    for cam, row in ((CamConfig(loss="candidate"), None), (CamConfig(), 0)):
        tiles = prepare_tiles(opened, opened.splits["val"], cams, SCALING, ("raw",), tmp_path, cam=cam)
        assert {tile.background for tile in tiles} == {row}


def test_missing_scores_are_named(survey: Survey, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"val0\.npy is missing"):
        prepare_tiles(survey, survey.splits["val"], tmp_path / "none", SCALING, ("raw",), tmp_path)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_named(survey: Survey, tmp_path: Path, broken: float) -> None:
    cams = shutil.copytree(survey.root.parent / "cams" / "val", tmp_path / "val")
    scores = read_cam(cams / "val1.npy")
    scores[0, 3, 4] = broken
    write_cam(cams / "val1.npy", scores)
    with pytest.raises(UserError, match=r"val1\.npy holds scores that are not finite .*: delete the folder"):
        prepare_tiles(survey, survey.splits["val"], cams, SCALING, ("raw",), tmp_path)


def test_a_lost_race_prunes_the_trial_with_a_reason(objective: CrfObjective) -> None:
    """Against an incumbent that is right everywhere, a bad setting is ended and cannot win."""
    many = CrfObjective(list(objective.tiles) * 12, CLASSES, None, RANGES, "miou_multiclass", jobs=2)
    truths = np.array([np.diag(tile.pixels) for tile in many.tiles], dtype=np.int64)

    def perfect_incumbent() -> Incumbent:
        return incumbent_of(truths, "miou_multiclass", 1.0)

    raced = replace(many, incumbent=perfect_incumbent)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(raced, n_trials=3)
    racing = int((raced._race_shares > 0).sum())
    assert all(trial.state == TrialState.PRUNED for trial in study.trials)
    for trial in study.trials:
        ((tiles, value),) = trial.intermediate_values.items()
        assert 8 <= tiles < racing
        assert value < 1
        scored, confusions = read_partial(trial.user_attrs, len(raced.tiles), 2)
        parameters = CrfParameters.model_validate(trial.params)
        whole = raced.histories(parameters, parameters.iterations)[:, -1]
        assert (scored & (raced._race_shares > 0)).sum() == tiles
        np.testing.assert_array_equal(confusions, np.where(scored[:, None, None], whole, 0))
        rest = np.flatnonzero(~scored).tolist()
        np.testing.assert_array_equal(raced.confusions_of(parameters, rest), whole[rest])


def test_a_stopped_trial_of_an_older_study_has_scored_nothing() -> None:
    scored, confusions = read_partial({}, 3, 2)
    assert not scored.any() and not confusions.any() and confusions.shape == (3, 2, 2)


def test_every_trial_races_over_an_order_of_its_own_that_follows_from_the_seed(
    objective: CrfObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[list[int]] = []
    raced = CrfObjective._raced

    def noted(
        self: CrfObjective, parameters: CrfParameters, iterations: int, order: list[int], *race: Any
    ) -> Any:
        orders.append(order)
        return raced(self, parameters, iterations, order, *race)

    monkeypatch.setattr(CrfObjective, "_raced", noted)
    many = replace(objective, tiles=list(objective.tiles) * 12)
    for seed, number in ((1, 0), (1, 0), (1, 5), (2, 0)):
        params = named_crf_settings(1, False)["no CRF"]
        replace(many, seed=seed)(FixedTrial(params, number))  # type: ignore[arg-type]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]


def test_a_named_setting_is_never_raced(objective: CrfObjective) -> None:
    truths = np.array([np.diag(tile.pixels) for tile in objective.tiles], dtype=np.int64)
    raced = replace(objective, incumbent=lambda: incumbent_of(truths, "miou_multiclass", 1.0))
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(named_crf_settings(1, False)["no CRF"], user_attrs={"enqueued": True})
    study.optimize(raced, n_trials=1)
    assert study.trials[0].state == TrialState.COMPLETE


def test_the_curve_is_what_each_number_of_iterations_scores(objective: CrfObjective) -> None:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(named_crf_settings(1, False)["w-s3Tseg"])
    study.optimize(objective, n_trials=1)
    (trial,) = study.trials
    for count in (0, 1, 4, 10):
        parameters = CrfParameters(iterations=count)
        alone = objective.histories(parameters, count)[:, -1]
        assert trial.user_attrs["curve"][count] == METRICS["miou_multiclass"](alone)


def without_crf_is_best(
    tiles: Sequence[TuningTile], parameters: CrfParameters, iterations: int, *_: object
) -> list[NDArray[np.int64]]:
    """Confusion histories that are perfect without iterations and by halves wrong after them."""
    histories = []
    for tile in tiles:
        right = np.array(tile.pixels, dtype=np.int64)
        wrong = right // 2
        spoilt = np.array([[right[0] - wrong[0], wrong[0]], [wrong[1], right[1] - wrong[1]]])
        histories.append(np.stack([np.diag(right), *[spoilt] * iterations]))
    return histories


@pytest.mark.parametrize(("sampled", "low"), [(0, 0), (5, 0), (0, 1)])
def test_a_winner_without_iterations_is_not_pruned(
    objective: CrfObjective, monkeypatch: pytest.MonkeyPatch, sampled: int, low: int
) -> None:
    monkeypatch.setattr("objectives.crf.score_tiles", without_crf_is_best)
    incumbent = np.array([np.diag(tile.pixels) for tile in objective.tiles] * 12, dtype=np.int64)
    missed = incumbent.diagonal(axis1=1, axis2=2) // 10
    for confusions, (first, second) in zip(incumbent, missed, strict=True):
        confusions += np.array([[-first, first], [second, -second]])
    value = METRICS["miou_multiclass"](incumbent)
    assert value is not None
    raced = replace(
        objective,
        tiles=list(objective.tiles) * 12,
        ranges=CrfRanges(guides=("raw", "median"), iterations=(low, 10)),
        incumbent=lambda: incumbent_of(incumbent, "miou_multiclass", value),
    )
    study = optuna.create_study(direction="maximize")
    # A setting of another workspace may lie out of the ranges, and races.
    setting = named_crf_settings(1, False)["w-s3Tseg"] | {"iterations": sampled}
    study.enqueue_trial(setting, user_attrs={"warm_start": {"complete": False}})
    study.optimize(raced, n_trials=1)
    (trial,) = study.trials
    assert trial.state == TrialState.COMPLETE
    best = trial.user_attrs.get("better_iterations", {"iterations": sampled, "value": trial.value})
    assert (best["iterations"], best["value"]) == (0, 1.0)


def test_the_label_of_no_crf_again_does_not_keep_a_bad_setting_in(
    objective: CrfObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objectives.crf.score_tiles", without_crf_is_best)
    truths = np.array([np.diag(tile.pixels) for tile in objective.tiles] * 12, dtype=np.int64)
    raced = replace(
        objective,
        tiles=list(objective.tiles) * 12,
        incumbent=lambda: incumbent_of(truths, "miou_multiclass", 1.0),
    )
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(named_crf_settings(1, False)["w-s3Tseg"])
    study.optimize(raced, n_trials=1)
    assert study.trials[0].state == TrialState.PRUNED


def test_tiles_that_need_no_crf_do_not_race(objective: CrfObjective, monkeypatch: pytest.MonkeyPatch) -> None:
    """36 constant tiles and 6 others; a trial is worse in the first of these alone, and better in all."""
    tile = next(tile for tile in objective.tiles if len(tile.kept) == 2 and min(tile.pixels) >= 10)
    constant, right = replace(tile, kept=(0,)), np.array(tile.pixels, dtype=np.int64)
    calls: list[int] = []

    def confused(share: float) -> NDArray[np.int64]:
        first, second = (right * share).astype(np.int64)
        return np.diag(right) + np.array([[-first, first], [second, -second]])

    def worse_then_perfect(
        tiles: Sequence[TuningTile], parameters: CrfParameters, iterations: int, *_: object
    ) -> list[NDArray[np.int64]]:
        calls.append(len(tiles))
        return [np.stack([confused(0.5 if len(calls) == 1 else 0.0)] * (iterations + 1))]

    monkeypatch.setattr("objectives.crf.score_tiles", worse_then_perfect)
    incumbent = np.stack([constant.constant_confusion(2)] * 36 + [confused(0.3)] * 6)
    value = METRICS["miou"](incumbent)
    assert value is not None
    raced = replace(
        objective,
        tiles=[constant] * 36 + [tile] * 6,
        metric="miou",
        incumbent=lambda: incumbent_of(incumbent, "miou", value),
    )
    study = optuna.create_study(direction="maximize")
    study.optimize(raced, n_trials=1)
    (trial,) = study.trials
    assert trial.state == TrialState.COMPLETE
    assert trial.value is not None and trial.value > value


def sizes_of_calls(
    objective: CrfObjective, monkeypatch: pytest.MonkeyPatch, tiles: int, *, fused: bool, raced: bool
) -> list[int]:
    """Tiles in each call of the torch engine in a trial that equals the incumbent, which ends no race."""
    calls: list[int] = []

    def all_right(
        tiles: Sequence[TuningTile], parameters: CrfParameters, iterations: int, *_: object
    ) -> list[NDArray[np.int64]]:
        calls.append(len(tiles))
        return [np.stack([np.diag(np.array(tile.pixels))] * (iterations + 1)) for tile in tiles]

    monkeypatch.setattr("objectives.crf.score_tiles", all_right)
    monkeypatch.setattr(Engine, "fused", fused)
    tile = next(tile for tile in objective.tiles if len(tile.kept) == 2 and min(tile.pixels) >= 10)
    incumbent = incumbent_of(np.stack([np.diag(np.array(tile.pixels))] * tiles), "miou", 1.0)
    chosen = replace(
        objective,
        tiles=[tile] * tiles,
        metric="miou",
        engine=Engine("torch"),
        incumbent=(lambda: incumbent) if raced else (lambda: None),
    )
    optuna.create_study(direction="maximize").optimize(chosen, n_trials=1)
    return calls


@pytest.mark.parametrize(
    ("tiles", "fused", "raced", "sizes"),
    [
        (40, False, False, [16, 16, 8]),
        (40, True, False, [40]),
        (300, True, False, [256, 44]),
        # 40 tiles are looked at after 8 and every 4 at the earliest; 208 after every 20.
        (40, True, True, [16, 16, 8]),
        (208, True, True, [20] * 10 + [8]),
        (208, False, True, [16] * 13),
    ],
)
def test_batches_of_fused_kernels_end_where_a_race_is_looked_at(
    objective: CrfObjective,
    monkeypatch: pytest.MonkeyPatch,
    tiles: int,
    fused: bool,
    raced: bool,
    sizes: list[int],
) -> None:
    assert sizes_of_calls(objective, monkeypatch, tiles, fused=fused, raced=raced) == sizes
