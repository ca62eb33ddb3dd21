import optuna
import pytest
from optuna.trial import TrialState

from objectives.grid import CRF_STEPS, LOSS_STEPS, crf_grid, loss_grid
from objectives.records.attributes import INTERRUPTED
from objectives.samplers import draws_so_far, enqueue_grid_point, make_sampler
from objectives.space import CrfRanges, suggest_crf, suggest_loss
from studies.trials.retry import requeue_dead_trials

NAMES = ("auto", "tpe", "gp", "cmaes", "nsga2", "random", "qmc", "grid")


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_searches_the_conditional_space(name: str) -> None:
    sampler = make_sampler(name, seed=1, moved_on=0, budget=12)  # type: ignore[arg-type]
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for _ in range(8):
        trial = study.ask()
        parameters = suggest_crf(trial, CrfRanges(), True)
        study.tell(trial, -abs(parameters.sigma_beta - 7))
    assert len({trial.params["sigma_beta"] for trial in study.trials}) == 8


@pytest.mark.parametrize("name", ["tpe", "random", "cmaes", "gp"])
def test_the_same_seed_draws_the_same_and_another_worker_does_not(name: str) -> None:
    def draw(moved_on: int) -> list[float]:
        sampler = make_sampler(name, seed=3, moved_on=moved_on, budget=12)  # type: ignore[arg-type]
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=4)
        return [trial.params["x"] for trial in study.trials]

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


def test_what_is_outside_the_even_sequence_is_not_the_same_in_every_worker() -> None:
    def draw(moved_on: int) -> float:
        sampler = make_sampler("qmc", seed=3, moved_on=moved_on, budget=12)
        trial = optuna.create_study(sampler=sampler).ask()
        return trial.suggest_float("x", 0, 1)

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


def test_workers_are_counted() -> None:
    study = optuna.create_study()
    assert [draws_so_far(study) for _ in range(3)] == [0, 1, 2]


def test_grids_hold_every_point_once_and_only_what_can_be_chosen() -> None:
    for background in (False, True):
        points = crf_grid(CrfRanges(), background)
        # Five widths and weights, two guides, two unaries with a parameter each.
        assert len(points) == CRF_STEPS**5 * 2 * 2 * CRF_STEPS * (CRF_STEPS if background else 1)
        assert len({frozenset(point.items()) for point in points}) == len(points)
        for point in points[:: len(points) // 50]:
            trial = optuna.trial.FixedTrial(point)
            suggest_crf(trial, CrfRanges(), background)
            assert trial.params == point
    assert len(loss_grid()) == 2 + LOSS_STEPS**2
    for point in loss_grid():
        trial = optuna.trial.FixedTrial(point)
        suggest_loss(trial)
        assert trial.params == point


def test_a_grid_is_worked_off_once_in_the_order_of_the_seed() -> None:
    def run(seed: int) -> list[str]:
        study = optuna.create_study()
        while enqueue_grid_point(study, loss_grid(), seed):
            study.optimize(lambda trial: float(suggest_loss(trial).gamma), n_trials=1)
        assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
        return [str(trial.params) for trial in study.trials]

    first = run(1)
    assert first == run(1)
    assert first != run(2)
    assert sorted(first) == sorted(map(str, loss_grid()))


@pytest.mark.parametrize(
    ("name", "drawn"), [("tpe", 5), ("gp", 5), ("cmaes", 5), ("random", 14), ("qmc", 14)]
)
def test_how_a_setting_was_proposed_is_noted(name: str, drawn: int) -> None:
    """A quarter of the budget is drawn at random behind the named settings, whatever their scores."""
    study = optuna.create_study(
        sampler=make_sampler(name, seed=1, moved_on=0, budget=20), direction="maximize"
    )  # type: ignore[arg-type]
    study.enqueue_trial({"loss": "cross-entropy"}, user_attrs={"enqueued": True})
    study.enqueue_trial({"loss": "lovasz_softmax"})
    for number in range(16):
        trial = study.ask()
        suggest_loss(trial)
        study.tell(trial, number)
    proposals = [trial.user_attrs.get("proposal") for trial in study.trials]
    # Whoever enqueues a setting may have looked at scores; it is not called random.
    assert proposals[:2] == [None, None]
    assert proposals[2:] == ["random"] * drawn + ["adaptive"] * (14 - drawn)


@pytest.mark.parametrize(("name", "number"), [("tpe", 10), ("nsga2", 30)])
def test_settings_drawn_at_random_do_not_depend_on_scores(name: str, number: int) -> None:
    def drawn(sign: int) -> list[dict[str, object]]:
        sampler = make_sampler(name, seed=4, moved_on=0, budget=40)  # type: ignore[arg-type]
        study = optuna.create_study(sampler=sampler, direction="maximize")
        for named in range(15):
            study.enqueue_trial({"sigma_beta": 1.0 + named})
        for _ in range(15 + number + 2):
            trial = study.ask()
            parameters = suggest_crf(trial, CrfRanges(), True)
            study.tell(trial, sign * parameters.sigma_beta)
        return [trial.params for trial in study.trials if trial.user_attrs.get("proposal") == "random"]

    assert len(drawn(1)) == number
    assert drawn(1) == drawn(-1)


def test_a_setting_that_is_run_again_was_drawn_as_before() -> None:
    study = optuna.create_study(sampler=make_sampler("tpe", seed=4, moved_on=0, budget=4))
    first = study.ask()
    first.suggest_float("x", 0, 1)
    first.set_user_attr(INTERRUPTED, True)
    study.tell(first, state=TrialState.FAIL)
    requeue_dead_trials(study)
    again = study.ask()
    assert again.suggest_float("x", 0, 1) == first.params["x"]
    assert again.user_attrs["proposal"] == "random"


def test_points_of_a_grid_are_drawn_without_a_look_at_scores() -> None:
    study = optuna.create_study()
    assert enqueue_grid_point(study, [{"x": 1.0}], seed=0)
    assert study.ask().user_attrs["proposal"] == "random"
