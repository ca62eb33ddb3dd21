"""Curves of runs: the warm-up first, cut lines left out, the database where the folder is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from objectives.records.study import Trial
from reports.findings.epochs import Curve, mean_curve, read_run, read_trial
from sonarseg.files.run_metrics import read_metrics
from tests.support.fake_studies import metrics_line, write_metrics


def trial(**more: object) -> Trial:
    return Trial(number=0, state="complete", value=0.5, params={}, **more)  # type: ignore[arg-type]


def test_a_run_continues_the_warm_up(tmp_path: Path) -> None:
    write_metrics(tmp_path / "runs" / "warm-up", [metrics_line(e, 0, 0.5, 0.1, "") for e in (1, 2, 3)])
    write_metrics(tmp_path / "runs" / "a", [metrics_line(e, 1 + e // 3, 0.5, 0.1, "") for e in (1, 2, 3)])
    curve = read_run(tmp_path, Path("runs/a"))
    assert curve is not None
    assert curve.epochs == [1, 2, 3, 4, 5, 6]
    assert curve.warm_up_end == 3
    assert curve.round_starts == [4, 6]
    assert curve.values["miou"][:3] == [None] * 3


def test_a_full_run_has_its_own_warm_up(tmp_path: Path) -> None:
    write_metrics(tmp_path / "runs" / "warm-up", [metrics_line(1, 0, 0.5, 0.1, "")])
    write_metrics(tmp_path / "runs" / "a", [metrics_line(e, int(e > 2), 0.5, 0.1, "") for e in (1, 2, 3)])
    curve = read_run(tmp_path, Path("runs/a"))
    assert curve is not None
    assert curve.epochs == [1, 2, 3]


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    write_metrics(tmp_path / "runs" / "a", [metrics_line(1, 1, 0.5, 0.1, "")])
    with (tmp_path / "runs" / "a" / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"epoch": 2, "rou')
    curve = read_run(tmp_path, Path("runs/a"))
    assert curve is not None
    assert curve.epochs == [1]


@pytest.mark.parametrize("damage", [b"\0\0\0\n", b'{"epoch": 2\n{"epoch": 3}\n', b"\xff\xfe\n"])
def test_lines_are_read_up_to_a_damaged_one(tmp_path: Path, damage: bytes) -> None:
    run = tmp_path / "runs" / "a"
    write_metrics(run, [metrics_line(1, 1, 0.5, 0.1, "")])
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(damage)
    curve = read_run(tmp_path, Path("runs/a"))
    assert curve is not None
    assert curve.epochs == [1]
    assert [line["epoch"] for line in read_metrics(run)] == [1]


def test_not_a_number_is_a_gap(tmp_path: Path) -> None:
    write_metrics(tmp_path / "runs" / "a", [metrics_line(1, 1, 0.5, 0.1, "") | {"miou": float("nan")}])
    curve = read_run(tmp_path, Path("runs/a"))
    assert curve is not None
    assert curve.values["miou"] == [None]


def test_reported_values_stand_in_for_a_lost_folder(tmp_path: Path) -> None:
    curve = read_trial(tmp_path, trial(run="runs/lost", intermediate={1: 0.2, 2: 0.3}), "miou")
    assert curve is not None
    assert curve.values["miou"] == [0.2, 0.3]
    assert read_trial(tmp_path, trial(run="runs/lost"), "miou") is None


def test_a_run_outside_the_workspace_is_not_read(tmp_path: Path) -> None:
    write_metrics(tmp_path / "outside", [metrics_line(1, 1, 0.5, 0.1, "")])
    (tmp_path / "w").mkdir()
    assert read_run(tmp_path / "w", Path("../outside")) is None


def test_mean_is_over_the_epochs_that_all_have() -> None:
    first = Curve([1, 2, 3], [1, 1, 1], {"miou": [0.1, None, 0.3]})
    second = Curve([1, 2], [1, 1], {"miou": [0.3, 0.5]})
    mean = mean_curve([first, second])
    assert mean.epochs == [1, 2]
    assert mean.values["miou"][0] == pytest.approx(0.2)
    assert mean.values["miou"][1] is None
