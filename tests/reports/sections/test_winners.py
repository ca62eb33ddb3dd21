"""Losses compared: which wins, how sure that is, and what the reader is told where metrics disagree."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import optuna
import pytest

from objectives.records.read import read_studies
from objectives.records.study import Trial
from reports.findings.comparison import seed_pairs
from reports.findings.loss_gains import loss_gains
from reports.findings.loss_table import loss_table
from reports.page.build import render
from sonarseg.metrics.iou import METRICS
from tests.support.fake_studies import (
    CLASSES,
    LOSS_SPACE,
    add,
    new_study,
    study_attrs,
)
from tests.support.report_page import Page

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def page_of(workspace: Path) -> Page:
    return Page(render(workspace, NOW))


def test_metrics_that_disagree_are_pointed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = new_study(tmp_path, "loss")
    add(study, LOSS_SPACE, {"loss": "cross-entropy"}, 0.7, setting="cross-entropy", seed=0)
    add(study, LOSS_SPACE, {"loss": "lovasz_softmax"}, 0.8, setting="lovasz_softmax", seed=0)
    miou = METRICS["miou"]
    monkeypatch.setitem(METRICS, "miou_paper", lambda confusions: 1 - (miou(confusions) or 0.0))
    text = page_of(tmp_path).text["in-short"]
    assert "Lovász-Softmax is best" in text
    assert "By miou_paper Cross-entropy would be best instead" in text


def test_equal_losses_have_no_winner(tmp_path: Path) -> None:
    study = new_study(tmp_path, "loss")
    for loss in ("cross-entropy", "lovasz_softmax"):
        add(study, LOSS_SPACE, {"loss": loss}, 0.7, setting=loss, seed=0)
    assert (
        "No loss stands out (one seed each): all 2 reach miou_multiclass"
        in page_of(tmp_path).text["in-short"]
    )


def test_a_weighted_baseline_with_fewer_seeds_cannot_win(tmp_path: Path) -> None:
    study = new_study(tmp_path, "loss")
    weighted = {"loss": "focal", "gamma": 0.0, "alpha": 1.0}
    add(study, LOSS_SPACE, weighted, 0.9, name="class-weighted cross-entropy", setting="w", seed=0)
    for seed in (0, 1):
        for loss, params in (("cross-entropy", {}), ("focal", {"gamma": 2.0, "alpha": 0.0})):
            add(study, LOSS_SPACE, {"loss": loss} | params, 0.7, noise=seed, setting=loss, seed=seed)
    page = page_of(tmp_path)
    rows = {row[0]: row for row in page.table("table-one", "Loss")[1:]}
    assert list(rows) == ["Cross-entropy", "Class-weighted cross-entropy †", "Focal"]
    assert "† 1 run only, so not compared." in page.text["table-one"]
    assert "Class-weighted" not in page.text["in-short"]


def losses(workspace: Path, runs: dict[str, list[float]], strips: int = 8) -> Page:
    """A loss study with the given values of each loss, one a seed, and its report."""
    tiles = [f"strip{tile % strips}_{tile}" for tile in range(24)]
    groups = [tile.split("_")[0] for tile in tiles]
    study = new_study(workspace, "loss", study_attrs("loss", CLASSES, tiles=tiles, groups=groups))
    for loss, values in runs.items():
        for seed, value in enumerate(values):
            params = {"loss": loss} | ({"gamma": 2.0, "alpha": 0.5} if loss == "focal" else {})
            add(study, LOSS_SPACE, params, value, noise=seed, setting=loss, seed=seed)
    return page_of(workspace)


def test_runs_that_are_left_out_are_told_and_who_would_win_with_them(tmp_path: Path) -> None:
    page = losses(tmp_path, {"cross-entropy": [0.7], "lovasz_softmax": [0.6, 0.9, 0.9]})
    table = loss_table(read_studies(tmp_path)["loss"])
    head, *rows = page.table("table-one", "Loss")
    all_runs = head.index("All runs")
    values = [trial.value for trial in table.rows[1].all_trials]
    assert rows[1][all_runs] == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} (3 runs)"
    text = page.text["in-short"]
    assert "Cross-entropy is best" in text
    instead = f"Lovász-Softmax would be best instead: {table.rows[1].all_runs} beside"
    assert f"{instead} {table.rows[0].all_runs} of Cross-entropy." in text


def test_one_seed_earns_no_star_and_several_do(tmp_path: Path) -> None:
    apart = {"cross-entropy": [0.5] * 3, "lovasz_softmax": [0.9] * 3}
    several = losses(tmp_path / "several", apart)
    single = losses(tmp_path / "single", {loss: values[:1] for loss, values in apart.items()})
    stars = [" ".join(page.table("table-one", "Loss")[2]).count("*") for page in (several, single)]
    assert stars == [3, 0]
    assert "* if it leaves zero out" in several.text["table-one"]
    assert "* if it leaves zero out" not in single.text["table-one"]
    assert "one seed per loss: the difference may be chance" in single.text["table-one"]
    assert "one seed per loss: the difference may be chance" in single.text["in-short"]


def test_two_strips_have_no_interval(tmp_path: Path) -> None:
    page = losses(tmp_path, {"cross-entropy": [0.5] * 3, "lovasz_softmax": [0.9] * 3}, strips=2)
    told = "(no interval: too few strips, 2 of val; it takes 6)"
    assert told in page.text["in-short"]
    assert told in " ".join(page.text["table-one"].split())
    assert "[" not in " ".join(page.table("table-one", "Loss")[2])
    assert "loss-gains" not in page.figures()


def test_a_winning_baseline_is_set_beside_the_next(tmp_path: Path) -> None:
    page = losses(tmp_path, {"cross-entropy": [0.8] * 3, "focal": [0.5] * 3, "lovasz_softmax": [0.6] * 3})
    text = page.text["in-short"]
    assert "Cross-entropy is best" in text
    assert "not proven better" not in text
    assert re.search(r"; Lovász-Softmax is next with 0\.\d{3} on the same tiles\. On strips that", text)


def test_runs_are_paired_by_seed_not_by_the_order_of_trials() -> None:
    better, other = (
        [Trial(number, "complete", 0.5, {}, seed=seed) for number, seed in enumerate(seeds)]
        for seeds in ((1, 2, 3), (3, 1, None, 4))
    )
    assert [(a.seed, b.seed) for a, b in seed_pairs(better, other)] == [(1, 1), (3, 3)]


def test_the_winner_has_no_interval_on_the_tiles_that_chose_it(tmp_path: Path) -> None:
    page = losses(tmp_path, {"cross-entropy": [0.6] * 3, "focal": [0.62] * 3, "lovasz_softmax": [0.7] * 3})
    text = " ".join(page.text["in-short"].split())
    assert re.search(
        r"cross-entropy reaches 0\.\d{3}: \+0\.\d{3} on the tiles that chose it\. On strips", text
    )
    among = "chosen in each draw among 3 losses fixed beforehand"
    assert f"8 strips of val and 3 seeds resampled; {among}" in text
    assert text[text.index("Of 3 losses") :].count("95 % interval") == 1
    # Losses that were fixed beforehand keep their own intervals, in Table I.
    assert "[" in " ".join(page.table("table-one", "Loss")[-1])


def test_a_setting_that_the_strips_chose_has_no_interval_and_no_part_in_the_gain(tmp_path: Path) -> None:
    losses(tmp_path, {"cross-entropy": [0.6] * 4, "focal": [0.8] * 4, "lovasz_softmax": [0.7] * 4})
    other = optuna.load_study(study_name="loss", storage=f"sqlite:///{tmp_path / 'study.db'}")
    add(other, LOSS_SPACE, {"loss": "focal", "gamma": 1.0, "alpha": 0.5}, 0.75, setting="other focal", seed=0)
    study = read_studies(tmp_path)["loss"]
    table = loss_table(study)
    found = loss_gains(study, table)
    assert found is not None
    focal, lovasz = (next(row for row in table.rows if row.key == key) for key in ("focal", "lovasz_softmax"))
    assert (focal.tried, lovasz.tried) == (2, 1)
    chosen, fixed = (found.of(row, "miou_multiclass") for row in (focal, lovasz))
    assert chosen is not None
    assert (chosen.known, chosen.missing) == (False, "chosen here")
    assert fixed is not None
    assert fixed.known
    assert found.covers == (
        "8 strips of val and 3 seeds resampled; none for a setting that the same tiles chose"
    )
    assert found.search is not None
    assert found.search.settings == 2  # cross-entropy and Lovász-Softmax
    text = " ".join(page_of(tmp_path).text["in-short"].split())
    assert "Focal is best" in text
    assert "not proven better" not in text
