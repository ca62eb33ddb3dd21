"""Studies that are missing, empty, unfinished, failed or could not be tuned give a report that says so."""

from __future__ import annotations

import json
import re
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from objectives.records.read import read_studies
from reports.findings.loss_table import PAPER
from reports.findings.search_gains import crf_search_gains
from reports.overview.summary import summarise
from reports.page.build import render, write_report
from reports.sections.crf import crf_section
from reports.sections.provenance import provenance
from sonarseg.errors import UserError
from tests.support.fake_studies import (
    CLASSES,
    CRF_SPACE,
    LOSS_SPACE,
    add,
    fill_crf,
    metrics_line,
    new_study,
    study_attrs,
    write_metrics,
)
from tests.support.report_page import Page

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PARAMS: dict[str, Any] = {"sigma_alpha": 10.0, "iterations": 3}


def page_of(workspace: Path) -> Page:
    return Page(render(workspace, NOW))


def test_no_database_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"study\.db is missing: run `sonarseg tune all`"):
        write_report(tmp_path)
    facts = summarise(tmp_path)
    assert facts["studies"] == {"crf": None, "loss": None}
    assert facts["verdict"]["kind"] == "no model yet"


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("tiles, tiles, tiles " * 100, encoding="utf-8")
    with pytest.raises(UserError, match=r"study\.db cannot be read"):
        write_report(tmp_path)


def test_an_empty_file_is_refused_and_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    with pytest.raises(UserError, match="does not hold the studies of a workspace"):
        write_report(tmp_path)
    assert (tmp_path / "study.db").stat().st_size == 0


def test_database_without_a_known_study(tmp_path: Path) -> None:
    new_study(tmp_path, "something else", {})
    page = page_of(tmp_path)
    assert "The database holds no study yet." in page.text["in-short"]
    assert page.figures() == {}


@pytest.mark.parametrize(("kind", "other"), [("crf", "loss"), ("loss", "dense CRF")])
def test_empty_study_alone(tmp_path: Path, kind: str, other: str) -> None:
    new_study(tmp_path, kind)
    page = page_of(tmp_path)
    assert "study holds no trial yet" in page.text["in-short"]
    assert f"There is no {other} study in this workspace: it was removed" in page.text["in-short"]
    assert page.figures() == {}
    assert "plotly.js v" not in "".join(page.scripts)


def test_single_untuned_trial(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf")
    add(study, CRF_SPACE, PARAMS | {"iterations": 0}, 0.7, name="no CRF", enqueued=True)
    page = page_of(tmp_path)
    assert "Only untuned dense CRF settings have been scored; the best is no CRF" in page.text["in-short"]
    assert "Parameter importance is left out: it needs 20 scored trials" in page.text["crf"]
    assert set(page.figures()) == {"crf-history", "crf-classes", "crf-tiles"}


def test_single_tuned_trial(tmp_path: Path) -> None:
    add(new_study(tmp_path, "crf"), CRF_SPACE, PARAMS, 0.7)
    assert "no untuned setting has been scored beside it" in page_of(tmp_path).text["in-short"]


def test_tuning_that_made_it_worse_is_called_so(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf")
    add(study, CRF_SPACE, PARAMS | {"iterations": 0}, 0.8, name="no CRF", enqueued=True)
    add(study, CRF_SPACE, PARAMS, 0.6, noise=1)
    page = page_of(tmp_path)
    assert re.search(r"−0\.\d{3} on the tiles that chose it", page.text["in-short"])


def test_all_failed(tmp_path: Path) -> None:
    study = new_study(tmp_path, "loss")
    for epoch in (1, 2):
        reason = "Out of memory: lower training.batch_size."
        add(study, LOSS_SPACE, {"loss": "focal", "gamma": float(epoch), "alpha": 0.0}, None,
            state=TrialState.FAIL, reason=reason)  # fmt: skip
    add(study, LOSS_SPACE, {"loss": "cross-entropy"}, None, state=TrialState.FAIL)
    page = page_of(tmp_path)
    assert "No trial of the loss study has ended well yet (3 failed)." in page.text["in-short"]
    trials = " ".join(page.text["trials"].split())
    assert "failed Out of memory: lower training.batch_size. trials 0, 1" in trials
    assert "failed no reason was stored trial 2" in trials
    assert page.figures() == {}


def test_study_under_way(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf")
    fill_crf(study, searched=3)
    study.ask(CRF_SPACE).set_user_attr("worker", {"host": "ship", "pid": 1})
    study.enqueue_trial(PARAMS)
    page = page_of(tmp_path)
    assert " ".join(page.text["crf"].split()).count("8 complete, 1 running and 1 waiting") == 1
    assert "The dense CRF study is under way: 1 trial running." in page.text["in-short"]
    counts = summarise(tmp_path)["studies"]["crf"]["trials"]
    assert counts == {"complete": 8, "pruned": 0, "failed": 0, "running": 1, "waiting": 1}


REASON = "the survey simulated-bay has no masks for its val split, so no setting could be scored."


def test_untuned_survey(tmp_path: Path) -> None:
    for kind in ("crf", "loss"):
        new_study(tmp_path, kind, study_attrs(kind, CLASSES, untuned=REASON, tiles=[], groups=[]))
    lines = [metrics_line(epoch, 1, 0.7, epoch / 9, "") for epoch in range(1, 10)]
    for line in lines:
        line |= dict.fromkeys(("miou", "miou_multiclass", "val_loss_segmentation", "val_loss_classification"))
    write_metrics(tmp_path / "runs" / "final", lines)
    page = page_of(tmp_path)
    assert f"Neither dense CRF nor loss could be tuned: {REASON}" in page.text["in-short"]
    assert "One run with cross-entropy was trained all the same" in page.text["in-short"]
    for section in ("crf", "table-one", "losses"):
        assert REASON in page.text[section]
    assert set(page.figures()) == {"loss-cross-entropy-losses"}


def test_without_strips_there_is_no_interval_and_no_claim_of_independence(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf", study_attrs("crf", CLASSES, groups=[None] * 24))
    fill_crf(study, searched=2)
    page = page_of(tmp_path)
    for section in ("in-short", "crf"):
        assert (
            "the survey names no strips, so neighbouring tiles may lie in different splits"
            in page.text[section]
        )
    assert "95 % interval" not in page.text["in-short"]


def test_openings_of_test_are_listed_once_by_time(tmp_path: Path) -> None:
    openings = [
        {"time": "2026-11-02T10:00:00+01:00", "what": "later"},
        {"time": "2026-11-01T08:30:00+00:00", "what": "earlier"},
    ]
    for kind, space, params in (("crf", CRF_SPACE, PARAMS), ("loss", LOSS_SPACE, {"loss": "focal"})):
        study = new_study(tmp_path, kind, study_attrs(kind, CLASSES, test_openings=openings))
        add(study, space, params, 0.7, setting="one", seed=0)
    page = page_of(tmp_path)
    listed = page.text["provenance"]
    assert listed.count("earlier") == listed.count("later") == 1
    assert listed.index("2026-11-01 08:30 UTC") < listed.index("2026-11-02 09:00 UTC")
    assert "the test split has been opened 2 times" in page.text["in-short"]
    assert "once on unseen tiles" not in page.text["in-short"]


def test_an_untuned_setting_outside_the_ranges_does_no_harm(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf")
    fill_crf(study, searched=30)
    far = study.get_trials()[0].params | {"sigma_alpha": 1e4}
    study.enqueue_trial(far, user_attrs={"name": "far", "enqueued": True})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna says that 1e4 is out of range, which is the point
        trial = study.ask({name: CRF_SPACE[name] for name in far})
    trial.set_user_attr("confusions", study.get_trials()[0].user_attrs["confusions"])
    study.tell(trial, 0.2)
    assert study.get_trials()[-1].params["sigma_alpha"] == 1e4
    page = page_of(tmp_path)
    assert "crf-importance" in page.figures()
    assert "far" in [row[0] for row in page.table("crf", "Setting")]


def test_only_the_time_differs(workspace: Path) -> None:
    later = datetime(2030, 1, 1, tzinfo=UTC)
    stamp = re.compile(r"<time.*?</time>")
    first, second = render(workspace, NOW), render(workspace, later)
    assert first != second
    assert stamp.sub("", first) == stamp.sub("", second)


def test_the_database_is_only_read(workspace: Path, tmp_path: Path) -> None:
    before = (workspace / "study.db").read_bytes()
    write_report(workspace, tmp_path / "elsewhere.html")
    assert (workspace / "study.db").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere.html"]


def test_a_place_that_cannot_be_written_is_one_sentence(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_report(workspace, tmp_path / "missing" / "report.html")


def test_plotly_once_and_no_network(report: Path) -> None:
    page = Page.of(report)
    assert sum("plotly.js v" in script for script in page.scripts) == 1
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "data", "action"):
            if attrs.get(name):
                assert str(attrs[name]).startswith(("data:", "#")), (tag, attrs)
    assert report.stat().st_size < 6_000_000


def test_the_paper_of_table_one_is_named(report: Path) -> None:
    text = " ".join(report.read_text(encoding="utf-8").split())
    assert f"Table I follows the table of the same number in {PAPER}" in text


def test_a_folder_with_a_hard_name(tmp_path: Path) -> None:
    folder = tmp_path / "a #?%20 'b'"
    new_study(tmp_path / "plain", "crf")
    (tmp_path / "plain").rename(folder)
    assert "study holds no trial yet" in page_of(folder).text["in-short"]
    assert [p.name for p in folder.iterdir()] == ["study.db"]


def test_where_a_trial_comes_from_and_what_ran_it(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf")
    worker = {"host": "ship<b>1", "pid": 41, "thread": 41}
    origin = {"database": "/home/anna/reef-study/study.db", "trial": 7, "value": 0.7, "complete": True}
    add(study, CRF_SPACE, PARAMS, 0.6, warm_start=origin)
    add(study, CRF_SPACE, PARAMS, 0.7, noise=1, worker=worker, device="cuda:1")
    stopped = {"state": TrialState.FAIL, "interrupted": True, "reason": "interrupted."}
    add(study, CRF_SPACE, PARAMS, None, **stopped)
    add(study, CRF_SPACE, PARAMS, 0.7, noise=2, retry_of=2)
    page = page_of(tmp_path)
    trials = " ".join(page.text["trials"].split())
    assert "from trial 7 of reef-study" in trials
    assert "/home/anna" not in "".join(page.text.values()) + "".join(page.scripts[:2])
    assert "3 complete and 1 interrupted" in trials
    assert "retry of trial 2" in trials
    counts = summarise(tmp_path)["studies"]["crf"]["trials"]
    assert (counts["failed"], counts["interrupted"]) == (0, 1)
    assert "ship<b>1: 1 trial" in page.text["provenance"]
    assert "cuda:1: 1 trial" in page.text["provenance"]
    assert "ship<b>1 (41)" in json.loads(page.scripts[1])["crf"]["rows"][1]
    assert "cuda:1" in json.loads(page.scripts[1])["crf"]["rows"][1]


def test_energy_is_told_where_the_driver_told_it(tmp_path: Path) -> None:
    study = new_study(tmp_path, "loss")
    for joules in (1.8e6, None, 3.6e6):
        add(study, LOSS_SPACE, {"loss": "cross-entropy"}, 0.5, joules=joules)
    facts = dict(provenance(read_studies(tmp_path), tmp_path).facts)
    assert facts["energy of the loss study"].startswith("1.5 kWh")
    assert facts["energy of the loss study"].endswith("2 runs")


def test_races_that_were_not_finished_flatter_the_gain(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf")
    fill_crf(study, searched=12)
    assert "that races stopped" not in page_of(tmp_path).text["in-short"]
    study.set_user_attr("race_finished", {"scored": 3, "left_out": 2})
    told = "2 settings that races stopped were not scored whole, which flatters this gain"
    assert told in page_of(tmp_path).text["in-short"]


def test_without_settings_drawn_at_random_nothing_is_said_of_the_gain(tmp_path: Path) -> None:
    study = new_study(tmp_path, "crf")
    for number, name in enumerate(("no CRF", "DeepLab", None, None)):
        more = {"name": name} if name else {"proposal": "adaptive"}
        add(study, CRF_SPACE, PARAMS, 0.6 + 0.05 * number, noise=number, **more)
    found = read_studies(tmp_path)["crf"]
    assert crf_search_gains(found, [[found.complete[0]]]) == [None]
    section = crf_section(found)
    assert section.ahead is not None
    assert section.search is None
    assert [row.gain for row in section.settings] == [None, None, None]
