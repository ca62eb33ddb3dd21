"""Reads the studies of a workspace; nothing is written and nothing is created."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from objectives.records.foreign import is_foreign
from objectives.records.overwritten import refuse_overwritten
from objectives.records.sqlite import DATABASE, NOT_OURS, open_storage
from objectives.records.study import INTERRUPTED, KINDS, STATES, Study, Trial, workspace_name
from objectives.records.trial import (
    finishes_race,
    in_budget,
    is_derived,
    is_drawn_at_random,
    is_inherited,
    is_interrupted,
)
from sonarseg.errors import UserError
from sonarseg.files.plain_text import plain, plain_or_none
from sonarseg.metrics.confusion import unpack_confusions
from sonarseg.metrics.iou import METRICS, class_iou

REMOVED = (
    "{0} holds no {1} study: it was removed, for example in the dashboard; `sonarseg tune {1}` makes it "
    "again, and keeps the warm-up."
)


def read_studies(workspace: Path) -> dict[str, Study]:
    """Read the studies that the workspace's database holds.

    Parameters
    ----------
    workspace : Path
        Folder with `study.db`.

    Returns
    -------
    dict
        "cam", "crf" and "loss", where they exist, in this order.

    Raises
    ------
    UserError
        Where there is no database, or it is not one of a workspace.
    """
    path = workspace / DATABASE
    if not path.is_file():
        raise UserError(f"{path} is missing: run `sonarseg tune all` in this workspace first.")
    storage = open_storage(path, "ro")
    try:
        names = optuna.get_all_study_names(storage)
        loaded = {
            kind: optuna.load_study(study_name=kind, storage=storage) for kind in KINDS if kind in names
        }
        if not all(_is_ours(kind, study) for kind, study in loaded.items()):
            raise UserError(NOT_OURS.format(path))
        refuse_overwritten(path, loaded)
        return {kind: _read_study(kind, study) for kind, study in loaded.items()}
    finally:
        storage.engine.dispose()


def _is_ours(kind: str, study: optuna.Study) -> bool:
    # What a study is may be noted a moment after it was made, on a server.
    return study.user_attrs.get(attr.KIND) == kind or not study.get_trials(deepcopy=False)


def _read_study(kind: str, study: optuna.Study) -> Study:
    attrs = study.user_attrs
    frozen = sorted(study.get_trials(deepcopy=False), key=lambda trial: trial.number)
    survey = attrs.get(attr.SURVEY)
    classes = [plain(name) for name in survey.get("classes", [])] if isinstance(survey, dict) else []
    objectives = len(study.directions)
    foreign = {trial.number for trial in frozen if is_foreign(trial, {**attrs, attr.KIND: kind}, objectives)}
    own = tuple(trial for trial in frozen if trial.number not in foreign)
    unscored = {plain(name) for name in attrs.get(attr.UNSCORED) or []}
    trials = tuple(_read_trial(trial, classes, kind, unscored) for trial in own)
    return Study(study.study_name, kind, attrs, trials, own, objectives > 1, tuple(sorted(foreign)))


def _read_trial(trial: FrozenTrial, classes: list[str], kind: str, unscored: set[str]) -> Trial:
    attrs = trial.user_attrs
    confusions = _confusions(trial, kind, attr.CONFUSIONS)
    scores, iou = _stored_scores(attrs.get(attr.SCORES))
    if confusions is not None:
        scores = {name: metric(confusions) for name, metric in METRICS.items()}
        if len(classes) == confusions.shape[1]:
            iou = dict(zip(classes, class_iou(confusions), strict=True))
    values = trial.values if trial.state is TrialState.COMPLETE and trial.values else [None, None]
    return Trial(
        number=trial.number,
        state=INTERRUPTED if is_interrupted(trial) else STATES[trial.state],
        value=_known(values[0]),
        tile_seconds=_known(values[1]) if len(values) > 1 else None,
        params=trial.params,
        name=plain_or_none(attrs.get(attr.NAME)),
        enqueued=bool(attrs.get(attr.ENQUEUED)),
        scores=scores,
        iou={name: None if name in unscored else value for name, value in iou.items()},
        confusions=confusions,
        confusions_shown=_confusions(trial, kind, attr.CONFUSIONS_SHOWN),
        seconds=_seconds(trial),
        joules=_number(attrs.get(attr.JOULES)),
        reason=plain_or_none(attrs.get(attr.REASON)),
        run=attrs.get(attr.RUN),
        seed=attrs.get(attr.SEED),
        setting=plain(attrs.get(attr.SETTING) or sorted(trial.params.items())),
        retry_of=attrs.get(attr.RETRY_OF),
        derived_from=attrs.get(attr.DERIVED),
        drawn_at_random=is_drawn_at_random(trial),
        finished_race=finishes_race(trial),
        taken_from=_origin(attrs.get(attr.ORIGIN)),
        in_budget=in_budget(trial),
        host=_host(attrs.get(attr.WORKER)),
        worker=_worker(attrs.get(attr.WORKER)),
        device=plain_or_none(attrs.get(attr.DEVICE)),
        intermediate={
            step: value for step, value in trial.intermediate_values.items() if math.isfinite(value)
        },
        started=trial.datetime_start,
    )


def _confusions(trial: FrozenTrial, kind: str, name: str) -> NDArray[np.int64] | None:
    text = trial.user_attrs.get(name)
    if not text:
        return None
    try:
        return unpack_confusions(text)
    except ValueError as error:
        raise UserError(
            f"{DATABASE}: trial {trial.number} of the {kind} study holds confusions that cannot be read: "
            "the file is damaged, restore it from a copy."
        ) from error


def _stored_scores(metrics: object) -> tuple[dict[str, float | None], dict[str, float | None]]:
    if not isinstance(metrics, dict):
        return {}, {}
    iou = metrics.get("iou")
    per_class = {plain(name): value for name, value in iou.items()} if isinstance(iou, dict) else {}
    return {name: metrics.get(name) for name in METRICS}, per_class


def _seconds(trial: FrozenTrial) -> float | None:
    """Time that a trial took here; None where nobody knows it or another trial counts it."""
    attrs = trial.user_attrs
    if is_inherited(trial) or (is_derived(trial) and not finishes_race(trial)):
        return None
    # An interrupted run is gone on with, and its time counted, by the next trial.
    if is_interrupted(trial):
        return None
    stored = _number(attrs.get(attr.SECONDS))
    if stored is not None:
        return stored
    # The end of a trial whose program died is when that was noticed, perhaps days later.
    died = trial.state is TrialState.FAIL and attr.DEATHS in attrs
    return None if died or trial.duration is None else trial.duration.total_seconds()


def _number(stored: object) -> float | None:
    return float(stored) if isinstance(stored, int | float) else None


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _origin(origin: object) -> str | None:
    """Name a trial of another workspace, without the way to it on the machine where it was."""
    if not isinstance(origin, dict):
        return None
    return f"trial {plain(origin.get('trial'))} of {workspace_name(origin.get('database', ''))}"


def _host(identity: object) -> str | None:
    return plain_or_none(identity.get("host")) if isinstance(identity, dict) else None


def _worker(identity: object) -> str | None:
    host = _host(identity)
    return f"{host} ({plain(identity.get('pid', '?'))})" if host and isinstance(identity, dict) else None
