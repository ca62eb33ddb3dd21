"""Both studies of a workspace: real Optuna databases, invented trials and runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from sonarseg.metrics.confusion import pack_confusions
from sonarseg.metrics.iou import survey_scores

CLASSES = ["mud", "sand ripples", "rock", "seagrass"]
FREQUENCIES = np.array([0.5, 0.23, 0.14, 0.13, 0.1, 0.1, 0.1, 0.1])
TILES = [f"strip{i // 4}_tile{i:03d}" for i in range(24)]
CRF_SPACE: dict[str, BaseDistribution] = {
    "sigma_alpha": FloatDistribution(2, 100, log=True),
    "sigma_beta": FloatDistribution(1, 60, log=True),
    "sigma_gamma": FloatDistribution(0.5, 10, log=True),
    "w_bilateral": FloatDistribution(0.01, 20, log=True),
    "w_spatial": FloatDistribution(0.01, 20, log=True),
    "iterations": IntDistribution(0, 15),
    "unary": CategoricalDistribution(("soft", "seeds")),
    "unary_scale": FloatDistribution(0.1, 10, log=True),
    "gt_prob": FloatDistribution(0.51, 0.99),
    "guide": CategoricalDistribution(("raw", "median")),
}
# What a test does not say of a dense CRF setting
REST: dict[str, Any] = {
    "sigma_alpha": 20.0,
    "sigma_beta": 5.0,
    "sigma_gamma": 3.0,
    "w_bilateral": 10.0,
    "w_spatial": 3.0,
    "iterations": 10,
    "unary": "seeds",
    "guide": "raw",
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "no CRF": {"sigma_alpha": 20.0, "sigma_beta": 5.0, "w_bilateral": 10.0, "iterations": 0},
    "w-s3Tseg": {"sigma_alpha": 20.0, "sigma_beta": 5.0, "w_bilateral": 10.0, "iterations": 10},
    "IRN": {"sigma_alpha": 50.0, "sigma_beta": 2.89, "w_bilateral": 10.0, "iterations": 10},
    "PSA": {"sigma_alpha": 80.0, "sigma_beta": 7.51, "w_bilateral": 10.0, "iterations": 10, "unary": "soft"},
    "DeepLab": {
        "sigma_alpha": 67.0,
        "sigma_beta": 1.73,
        "w_bilateral": 4.0,
        "iterations": 10,
        "unary": "soft",
    },
}
LOSS_SPACE: dict[str, BaseDistribution] = {
    "loss": CategoricalDistribution(("cross-entropy", "focal", "lovasz_softmax")),
    "gamma": FloatDistribution(0, 5),
    "alpha": FloatDistribution(0, 1),
}
# name, parameters, quality of the run
LOSS_TRIALS: list[tuple[str | None, dict[str, Any], float]] = [
    ("cross-entropy", {"loss": "cross-entropy"}, 0.74),
    ("class-weighted cross-entropy", {"loss": "focal", "gamma": 0.0, "alpha": 1.0}, 0.75),
    ("focal gamma 2", {"loss": "focal", "gamma": 2.0, "alpha": 0.0}, 0.70),
    ("Lovász-Softmax", {"loss": "lovasz_softmax"}, 0.79),
    (None, {"loss": "focal", "gamma": 0.62, "alpha": 0.31}, 0.77),
    (None, {"loss": "focal", "gamma": 4.4, "alpha": 0.87}, 0.61),
]
STARTED = datetime(2026, 11, 20, 9, 0)


def confusions(quality: float, seed: int, classes: int = len(CLASSES)) -> NDArray[np.int64]:
    """(T, K, K) of 64 x 64 tiles: every third tile holds one class, errors fall with quality."""
    tiles = np.random.default_rng(7)  # the truth is that of the survey, the same for every trial
    errors = np.random.default_rng(seed)
    found = np.zeros((len(TILES), classes, classes), dtype=np.int64)
    share = FREQUENCIES[:classes] / FREQUENCIES[:classes].sum()
    for index in range(len(TILES)):
        shown = tiles.choice(
            classes, size=min(classes, 1 if index % 3 else 2 + index % 2), replace=False, p=share
        )
        pixels = tiles.multinomial(4096, tiles.dirichlet(np.full(len(shown), 3.0)))
        for truth, number in zip(shown, pixels, strict=True):
            right = np.clip(quality - 0.04 * truth + errors.normal(0, 0.04), 0.02, 0.99)
            # most of a tile's errors go to one other class, so some classes stay absent from it
            to = np.zeros(classes)
            to[(truth + 1 + index % max(1, classes - 1)) % classes] = 1 - right
            to[truth] = right
            found[index, truth] += errors.multinomial(number, to / to.sum())
    return found


def study_attrs(kind: str, classes: list[str], **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metric": "miou_multiclass",
        "survey": {
            "name": "simulated-bay",
            "fingerprint": "5f3a0c1be7a94d02",
            "classes": classes,
            "background": None,
            "tiles": {"train": 160, "val": 24, "test": 48},
            "multiclass": {"train": 52, "val": 8, "test": 17},
        },
        "tiles": TILES,
        "groups": [tile.split("_")[0] for tile in TILES],
        "versions": {"sonarseg": "0.1.0", "python": "3.11.7", "torch": "2.15.0", "optuna": "5.0.0"},
        "seed": 0,
        "device": "cpu (2 cores)",
        "config": {"name": "simulated-bay", "survey": "../simulated-bay", "crf": {"trials": 60}},
        "created": "2026-11-20T09:00:00+00:00",
        "test_openings": [],
    } | more


def _connect(workspace: Path) -> sqlite3.Connection:
    """Open the database without waiting for the disk: nothing here outlives a crash anyway."""
    connection = sqlite3.connect(workspace / "study.db", check_same_thread=False)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=MEMORY")
    return connection


def new_study(
    workspace: Path, kind: str, attrs: dict[str, Any] | None = None, directions: Sequence[str] = ("maximize",)
) -> optuna.Study:
    workspace.mkdir(parents=True, exist_ok=True)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": lambda: _connect(workspace)})
    study = optuna.create_study(study_name=kind, storage=storage, directions=directions)
    optuna.logging.set_verbosity(verbosity)
    for name, value in (study_attrs(kind, CLASSES) if attrs is None else attrs).items():
        study.set_user_attr(name, value)
    return study


def add(
    study: optuna.Study,
    space: dict[str, BaseDistribution],
    params: dict[str, Any],
    quality: float | None,
    *,
    noise: int = 0,
    state: TrialState = TrialState.COMPLETE,
    intermediate: dict[int, float] | None = None,
    classes: list[str] = CLASSES,
    seconds: float = 4.0,
    matrices: NDArray[np.int64] | None = None,
    **attrs: Any,
) -> None:
    found: dict[str, Any] = {"seconds": seconds} | attrs
    if "loss" in params:
        found = {"run": "runs/none", "setting": str(sorted(params.items()))} | found
    else:
        params, space = REST | params, CRF_SPACE | space
    value = None
    if quality is not None and matrices is None:
        matrices = confusions(quality, noise, len(classes))
    if matrices is not None:
        scores = survey_scores(matrices, classes)
        found |= {"metrics": dict(scores), "confusions": pack_confusions(matrices)}
        value = scores["miou_multiclass"] if state is TrialState.COMPLETE else None
    trial = create_trial(
        state=state,
        value=value,
        params=params,
        distributions={name: space[name] for name in params},
        user_attrs=found,
        intermediate_values=intermediate or {},
    )
    trial.datetime_start = STARTED
    trial.datetime_complete = STARTED + timedelta(seconds=seconds)
    study.add_trial(trial)


def crf_quality(params: dict[str, Any]) -> float:
    if params["iterations"] == 0:
        return 0.66
    wide = np.log(params["sigma_alpha"] / 12) ** 2 * 0.02 + np.log(params["sigma_beta"] / 14) ** 2 * 0.035
    return float(np.clip(0.80 - wide - 0.01 * abs(np.log(params["w_bilateral"] / 3)), 0.3, 0.9))


def fill_crf(study: optuna.Study, searched: int = 40) -> None:
    generator = np.random.default_rng(3)
    for number, (name, setting) in enumerate(PUBLISHED.items()):
        params = {"sigma_gamma": 3.0, "w_spatial": 3.0, "unary": "seeds", "guide": "raw"} | setting
        params |= {"unary_scale": 1.0} if params["unary"] == "soft" else {"gt_prob": 0.7}
        add(study, CRF_SPACE, params, crf_quality(params), noise=number, name=name, enqueued=True)
    for number in range(searched):
        focus = 1 / (1 + number / 12)
        params = {
            "sigma_alpha": float(np.clip(12 * np.exp(generator.normal(0, 1.1 * focus + 0.1)), 2, 100)),
            "sigma_beta": float(np.clip(14 * np.exp(generator.normal(0, 1.1 * focus + 0.1)), 1, 60)),
            "sigma_gamma": float(np.exp(generator.uniform(-0.6, 2.3))),
            "w_bilateral": float(np.clip(3 * np.exp(generator.normal(0, 1)), 0.01, 20)),
            "w_spatial": float(np.exp(generator.uniform(-4, 2.9))),
            "iterations": int(generator.integers(1, 16)),
            "unary": str(generator.choice(["soft", "seeds"], p=[0.7, 0.3])),
            "guide": str(generator.choice(["raw", "median"])),
        }
        if params["unary"] == "soft":
            params["unary_scale"] = float(np.exp(generator.normal(0, 0.7)))
        else:
            params["gt_prob"] = float(generator.uniform(0.55, 0.95))
        if number in (11, 29):
            add(
                study,
                CRF_SPACE,
                params,
                None,
                state=TrialState.FAIL,
                reason="The worker was stopped by signal 9.",
            )
        else:
            proposal = "random" if number < 20 else "adaptive"
            add(study, CRF_SPACE, params, crf_quality(params), noise=100 + number, proposal=proposal)


def metrics_line(epoch: int, number: int, quality: float, progress: float, loss: str) -> dict[str, Any]:
    generator = np.random.default_rng(epoch * 31 + number + int(quality * 1000))
    scale = {"focal": 0.35, "lovasz_softmax": 0.8}.get(loss, 1.0)
    wobble = float(generator.normal(0, 0.012))
    miou = quality * (1 - 0.5 * np.exp(-3.2 * progress)) + wobble
    training = number > 0
    return {
        "epoch": epoch,
        "round": number,
        "stage": "self-training" if training else "warm-up",
        "loss_segmentation": scale * (0.25 + 0.9 * np.exp(-2.6 * progress) + wobble) if training else None,
        "val_loss_segmentation": scale * (0.4 + 0.75 * np.exp(-2.3 * progress) + 2 * wobble)
        if training
        else None,
        "loss_classification": 0.12 + 0.5 * np.exp(-2.5 * (progress + 0.3 * training)) + wobble / 2,
        "val_loss_classification": 0.2 + 0.42 * np.exp(-2.2 * (progress + 0.3 * training)) + wobble,
        "miou": miou if training else None,
        "miou_multiclass": miou - 0.12 + wobble if training else None,
        "miou_paper": min(0.99, miou + 0.14) if training else None,
        "fwiou": miou if training else None,
        "iou": dict.fromkeys(CLASSES, miou),
        "learning_rate": 3e-4,
        "seconds": 2.0,
    }


def write_metrics(run: Path, lines: list[dict[str, Any]]) -> None:
    run.mkdir(parents=True, exist_ok=True)
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def fill_loss(study: optuna.Study, workspace: Path, seeds: int = 4) -> None:
    write_metrics(
        workspace / "runs" / "warm-up",
        [metrics_line(e, 0, 0.5, 0.35 * e / 10, "") for e in range(1, 11)],
    )
    repeated = {"cross-entropy", "class-weighted cross-entropy", "Lovász-Softmax"}
    queue = [(name, params, quality, 0) for name, params, quality in LOSS_TRIALS]
    for seed in range(1, seeds):
        queue += [
            (None, p, q - 0.012 * seed, seed)
            for n, p, q in LOSS_TRIALS
            if n in repeated or p.get("alpha") == 0.31
        ]
    for name, params, quality, seed in queue:
        number = len(study.trials)
        run = f"runs/loss-{number:04d}"
        length = 12 if quality < 0.65 else 30
        lines = [
            metrics_line(e, 1 + (e - 1) // 10, quality, e / 30, params["loss"]) for e in range(1, length + 1)
        ]
        write_metrics(workspace / run, lines)
        setting = " ".join(f"{key}={value}" for key, value in params.items())
        attrs: dict[str, Any] = {"run": run, "seed": seed, "setting": setting, "seconds": 300.0 + 9 * number}
        reported = {line["epoch"]: line["miou_multiclass"] for line in lines}
        if name:
            attrs |= {"name": name, "enqueued": True}
        if quality < 0.65:
            attrs["reason"] = "At epoch 12 its miou_multiclass lay below the median of the focal trials."
            add(
                study,
                LOSS_SPACE,
                params,
                quality,
                noise=number,
                state=TrialState.PRUNED,
                intermediate=reported,
                **attrs,
            )
        else:
            add(study, LOSS_SPACE, params, quality, noise=500 + number, intermediate=reported, **attrs)
    params = {"loss": "focal", "gamma": 0.2, "alpha": 0.4}
    reason = "The loss was not a number in epoch 3 of round 1: lower training.learning_rate."
    ending = {"state": TrialState.FAIL, "run": "runs/loss-none", "seed": 0, "setting": "focal 0.2"}
    add(study, LOSS_SPACE, params, None, reason=reason, **ending)
