"""What Optuna Dashboard shows beside the trials: notes, the metric's name, figures."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning

from objectives.records.read import read_studies
from objectives.records.sqlite import DATABASE, open_storage
from objectives.records.study import Study
from reports.dashboard.figures import dashboard_figures
from reports.dashboard.store import DashboardStore
from reports.dashboard.trial_notes import trial_note
from reports.findings.confirmed import confirmed
from reports.findings.verdict import Verdict, verdict
from reports.overview.cam_words import cam_sentence
from reports.overview.summary import cautions, crf_sentence, loss_sentence
from reports.sections.cam import CamSection, cam_section
from reports.sections.crf import CrfSection, crf_section
from reports.sections.loss import LossSection, loss_section
from reports.sections.trials import state_counts
from reports.style.formatting import (
    METRIC_MEANINGS,
    difference,
    interval,
    markdown_text,
    ordered,
    parameter,
    score,
)

# A score, a difference, a number or a dash: set to the right
_FIGURE = re.compile(r"[+−]?\d+(\.\d+)?$|–$")
# Where `sonarseg dashboard` serves the workspace's report
REPORT_ADDRESS = "/report.html"
_PURPOSE = {
    "cam": "Searches how the classification branch is trained and its class activation maps (CAM) are "
    "made. A trial trains the branch; its maps are scored as pseudo-labels, without a CRF.",
    "crf": "Searches the dense CRF parameters that turn class activation maps (CAM) into the best "
    "pseudo-labels. A trial refines the val tiles with one setting.",
    "loss": "Searches the loss of the segmentation network. A trial is one self-training run on the "
    "pseudo-labels of the best dense CRF.",
}


def write_dashboard_notes(workspace: Path, opened: Mapping[Any, optuna.Study] | None = None) -> None:
    """Fill in what Optuna Dashboard shows of the studies; trials are left as they are.

    A study's note and figures are written anew where they have changed, a trial's note once it has
    ended. What a person wrote stays: trial notes, and a study's "Own notes".

    Parameters
    ----------
    workspace : Path
        Folder with `study.db`.
    opened : mapping, optional
        The studies to write to, by kind, where they live on a server and `study.db` is a copy of them;
        by default those in `study.db`.

    Raises
    ------
    UserError
        Where the database cannot be read.
    """
    studies = read_studies(workspace)
    judged = verdict(studies, workspace)
    if opened is not None:
        for kind, study in studies.items():
            if kind in opened:
                _fill(opened[kind], study, workspace, judged)
        return
    storage = open_storage(workspace / DATABASE, "rw")
    try:
        for kind, study in studies.items():
            _fill(optuna.load_study(study_name=kind, storage=storage), study, workspace, judged)
    finally:
        storage.engine.dispose()


def _fill(opened: optuna.Study, study: Study, workspace: Path, judged: Verdict) -> None:
    if opened.metric_names is None:
        with warnings.catch_warnings():
            # naming a metric is "experimental" since Optuna 3.2, and nobody reading a study cares
            warnings.simplefilter("ignore", ExperimentalWarning)
            opened.set_metric_names([study.metric, "seconds per tile"][: len(opened.directions)])
    store = DashboardStore(opened)
    store.write_study_note(study_note(study, workspace, judged))
    for trial, frozen in zip(study.trials, study.frozen, strict=True):
        body = None if store.has_note(frozen._trial_id) else trial_note(study, trial)
        if body is not None:
            store.write_trial_note(frozen._trial_id, body)
    for key, figure in dashboard_figures(study, workspace).items():
        store.write_figure(key, figure)


def study_note(study: Study, workspace: Path, judged: Verdict) -> str:
    """Write the Markdown note of a study: what it is, how far it is, what is best.

    The verdict on the model stands first with the loss study; the crf study says if there is no model yet.
    """
    cam = cam_section(study) if study.kind == "cam" else None
    crf = crf_section(study) if study.kind == "crf" else None
    loss = loss_section(study, workspace) if study.kind == "loss" else None
    title = "Dense CRF" if crf else "Class activation maps" if cam else "Loss"
    sentences = [crf_sentence(crf)] if crf else [loss_sentence(loss)] if loss else []
    sentences += [cam_sentence(cam), *cam.swaps] if cam else cautions(crf, loss)
    name = markdown_text(study.survey.get("name", "survey"))
    meaning = METRIC_MEANINGS.get(study.metric)
    parts = [
        f"# {title} of {name}",
        *([f"**{markdown_text(judged.sentence)}**"] if loss or judged.kind == "no model yet" else []),
        _PURPOSE.get(study.kind, ""),
        *(markdown_text(sentence) for sentence in sentences),
        f"**Trials:** {state_counts(study) or 'none yet'}",
        f"**Metric:** {markdown_text(study.metric)}" + (f" ({meaning})" if meaning else ""),
    ]
    table = _crf_table(crf) if crf else _loss_table(loss) if loss else _cam_table(cam) if cam else ""
    if table:
        parts.append(table)
    parts += _confirmed(study)
    parts.append(
        f"The whole story is in the [report]({REPORT_ADDRESS}) (report.html in the workspace; "
        "`sonarseg report` writes it again)."
    )
    return "\n\n".join(parts) + "\n"


def _confirmed(study: Study) -> list[str]:
    """Write the table of `sonarseg confirm`, if it has run."""
    again = confirmed(study)
    if again is None or not again.rows:
        return []
    rows = [
        [
            markdown_text(f"{row.metric} on {row.split}"),
            score(row.winner),
            score(row.baseline),
            difference(row.gain.value),
            interval(row.gain.low, row.gain.high),
            row.verdict,
        ]
        for row in again.rows
    ]
    head = ["measured again", "winner", "baseline", "difference", "95 % interval", "verdict"]
    return [markdown_text(again.sentence()), _table(head, rows)]


def _cam_table(section: CamSection) -> str:
    rows = [
        [
            markdown_text(row.label),
            str(len(row.trials)),
            score(row.mean),
            markdown_text(row.setting),
        ]
        for row in section.rows
    ]
    return _table(["setting", "seeds", markdown_text(section.study.metric), "parameters"], rows)


def _crf_table(section: CrfSection) -> str:
    metric = section.study.metric
    rows = [
        [
            markdown_text(row.label),
            str(row.trial.number),
            score(row.trial.value),
            markdown_text(
                ", ".join(f"{n} {parameter(row.trial.params[n])}" for n in ordered(row.trial.params))
            ),
        ]
        for row in section.settings
    ]
    return _table(["setting", "trial", markdown_text(metric), "parameters"], rows)


def _loss_table(section: LossSection) -> str:
    metrics = ["miou_paper", "miou", "miou_multiclass"]
    rows = [
        [
            markdown_text(row.label),
            *(score(row.means.get(name)) for name in metrics),
            markdown_text(row.setting),
        ]
        for row in section.table.rows
    ]
    return _table(["loss", *(markdown_text(name) for name in metrics), "setting"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    figures = [all(_FIGURE.match(row[place]) for row in rows) for place in range(len(head))]
    lines = [head, ["---:" if right else "---" for right in figures], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
