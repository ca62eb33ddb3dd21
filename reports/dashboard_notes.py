"""What Optuna Dashboard shows beside the trials: a note for each study, and the metric's name."""

from __future__ import annotations

import warnings
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna_dashboard import save_note

from reports.crf_section import CrfSection, crf_section
from reports.database import DATABASE, Study, open_storage, read_studies
from reports.formatting import METRIC_MEANINGS, listing, markdown_text, ordered, parameter, score
from reports.loss_section import LossSection, loss_section
from reports.summary import cautions, crf_sentence, loss_sentence


def write_dashboard_notes(workspace: Path) -> None:
    """Save a note on each study, and name its metric; trials are left as they are.

    Parameters
    ----------
    workspace : Path
        Folder with `study.db`.

    Raises
    ------
    UserError
        Where the database cannot be read.
    """
    studies = read_studies(workspace)
    storage = open_storage(workspace / DATABASE, "rw")
    try:
        for kind, study in studies.items():
            opened = optuna.load_study(study_name=kind, storage=storage)
            with warnings.catch_warnings():
                # naming a metric is "experimental" since Optuna 3.2, and nobody reading a study cares
                warnings.simplefilter("ignore", ExperimentalWarning)
                opened.set_metric_names([study.metric])
            save_note(opened, study_note(study, workspace))
    finally:
        storage.engine.dispose()


def study_note(study: Study, workspace: Path) -> str:
    """Write the Markdown note of a study: what it is, how far it is, what is best."""
    crf = crf_section(study) if study.kind == "crf" else None
    loss = loss_section(study, workspace) if study.kind == "loss" else None
    title = "Dense CRF" if crf else "Loss"
    sentences = [crf_sentence(crf)] if crf else [loss_sentence(loss)] if loss else []
    sentences += cautions(crf, loss)
    states = listing([f"{number} {state}" for state, number in study.counts().items() if number])
    name = markdown_text(study.survey.get("name", "survey"))
    meaning = METRIC_MEANINGS.get(study.metric)
    parts = [
        f"# {title} of {name}",
        *(markdown_text(sentence) for sentence in sentences),
        f"**Trials:** {states or 'none yet'}",
        f"**Metric:** {markdown_text(study.metric)}" + (f" ({meaning})" if meaning else ""),
    ]
    table = _crf_table(crf) if crf else _loss_table(loss) if loss else ""
    if table:
        parts.append(table)
    parts.append("The whole story is in `report.html` in the workspace: `sonarseg report` writes it anew.")
    return "\n\n".join(parts) + "\n"


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
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
