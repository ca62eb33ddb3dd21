"""A loss study that searches rounds as the report shows it: winner, gain, curves, remarks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import IntDistribution

from objectives.records.read import read_studies
from objectives.records.study import Study
from reports.dashboard.trial_notes import trial_note
from reports.export.tables import export_tables
from reports.findings.epochs import read_trial
from reports.findings.loss_gains import loss_gains
from reports.findings.loss_table import loss_table
from reports.findings.verdict import verdict
from reports.overview.summary import summarise
from reports.page.build import render
from reports.sections.loss import loss_section
from tests.support.confirmations import record
from tests.support.fake_studies import CLASSES, LOSS_SPACE, add, new_study, study_attrs, write_metrics
from tests.support.report_page import Page

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SPACE = LOSS_SPACE | {"rounds": IntDistribution(0, 3)}
TILES = [f"strip{tile % 8}_{tile}" for tile in range(24)]
# Quality after rounds 1, 2 and 3
QUALITY = {"cross-entropy": (0.55, 0.62, 0.6), "lovasz_softmax": (0.7, 0.78, 0.72)}
SEEDS = 4


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    attrs = study_attrs("loss", CLASSES, tiles=TILES, groups=[name.split("_")[0] for name in TILES])
    study = new_study(tmp_path, "loss", attrs | {"searched_rounds": 3})
    for loss, qualities in QUALITY.items():
        for seed in range(SEEDS):
            source = len(study.trials)
            run = f"runs/loss-{source:04d}"
            lines = [{"epoch": n, "round": n, "loss_segmentation": 1 / n, "miou": 0.1 * n} for n in (1, 2, 3)]
            write_metrics(tmp_path / run, lines)
            named: dict[str, Any] = {"name": loss, "enqueued": True} if seed == 0 else {}
            whole = {"setting": loss, "run": run, "seed": seed, **named}
            add(study, SPACE, {"loss": loss, "rounds": 3}, qualities[2], noise=seed, **whole)
            first = [(0, 0.9)] if source == 0 else []
            for rounds, quality in [*first, *enumerate(qualities[:2], start=1)]:
                setting = f"{loss} rounds={rounds}" if rounds else "the classification branch alone"
                read_off = {"setting": setting, "run": f"{run}-rounds-{rounds}", "derived_from": source}
                params = {"loss": loss, "rounds": rounds}
                add(study, SPACE, params, quality, noise=seed, seed=seed, seconds=0.0, **read_off)
    return tmp_path


def read(workspace: Path) -> Study:
    return read_studies(workspace)["loss"]


def test_each_loss_stands_with_its_best_rounds_and_the_branch_alone_does_not_win(searched: Path) -> None:
    table = loss_table(read(searched))
    assert [(row.key, row.setting, row.tried, row.fixed) for row in table.rows] == [
        ("cross-entropy", "rounds 2", 3, True),
        ("lovasz_softmax", "rounds 2", 3, True),
    ]
    assert table.seeds == SEEDS - 1
    best = summarise(searched)["studies"]["loss"]["best"]
    assert best["params"] == {"loss": "lovasz_softmax", "rounds": 2}
    assert Page(render(searched, NOW)).table("table-one", "Loss")[2][-2:] == ["rounds 2", "3"]


def test_the_gain_of_the_search_chooses_rounds_too_and_is_over_the_untuned_rounds(searched: Path) -> None:
    study = read(searched)
    gains = loss_gains(study, loss_table(study))
    assert gains is not None
    assert gains.search is not None
    assert (gains.search.settings, gains.search.seeds) == (6, SEEDS - 1)
    whole = {
        loss: [t.value for t in study.complete if t.params == {"loss": loss, "rounds": rounds} and t.seed]
        for loss, rounds in (("cross-entropy", 3), ("lovasz_softmax", 2))
    }
    means = {loss: sum(filter(None, values)) / len(values) for loss, values in whole.items()}
    assert gains.search.value == pytest.approx(means["lovasz_softmax"] - means["cross-entropy"], abs=0.01)
    # Which rounds are compared was chosen on these tiles.
    assert not gains.known
    text = " ".join(Page(render(searched, NOW)).text["in-short"].split())
    assert "among 6 pairs of a fixed loss and its rounds, over cross-entropy with all rounds" in text


def test_a_trial_of_first_rounds_has_the_beginning_of_its_runs_curve(searched: Path) -> None:
    study = read(searched)
    second = next(t for t in study.trials if t.params == {"loss": "cross-entropy", "rounds": 2})
    curve = read_trial(searched, second, study.metric)
    assert curve is not None
    assert curve.rounds == [1, 2]
    write_metrics(searched / str(second.run), [{"epoch": 1, "round": 1, "miou": 0.5}])
    own = read_trial(searched, second, study.metric)
    assert own is not None
    assert own.values["miou"] == [0.5]
    epochs = export_tables({"loss": study}, searched)["loss_epochs"]
    assert len(epochs) == 3 * len(QUALITY) * SEEDS


def test_rounds_are_drawn_beside_the_branch_alone(searched: Path) -> None:
    section = loss_section(read(searched), searched)
    drawn = next(figure for figure in section.comparison if figure.key == "loss-rounds")
    assert [trace["x"] for trace in drawn.data] == [[1, 2, 3], [1, 2, 3], [0]]
    assert drawn.data[1]["y"][1] == max(drawn.data[1]["y"])
    assert "loss-rounds" in Page(render(searched, NOW)).figures()


def test_remarks_and_notes_say_what_was_read_off(searched: Path) -> None:
    study = read(searched)
    notes = {trial.number: trial_note(study, trial) or "" for trial in study.trials}
    assert "Read off trial 0, before its first round: the classification branch alone" in notes[1]
    assert "Read off trial 0, after its first round." in notes[2]
    assert "Read off trial 0, after its first 2 rounds." in notes[3]
    assert "Run folder" not in notes[2]
    page = Page(render(searched, NOW))
    assert "trial 0 after its first 2 rounds" in " ".join(page.text["trials"].split())


def test_a_confirmation_counts_for_the_winner_of_the_same_rounds_only(searched: Path) -> None:
    study = read(searched)
    made = record(0.2)
    for rounds, told in ((2, "usable"), (3, "usable, not confirmed")):
        made["winner"] |= {"loss": {"name": "lovasz_softmax", "gamma": 0.0, "alpha": 0.0}, "rounds": rounds}
        study.attrs["confirm"] = made
        assert verdict({"loss": study}, searched).kind == told
