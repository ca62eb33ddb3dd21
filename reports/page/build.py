"""Puts the report together: one HTML file that needs nothing else."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from objectives.records import attributes as attr
from objectives.records.read import read_studies
from objectives.records.study import Study
from reports.figures.base import Figure
from reports.findings.confirmed import confirmed
from reports.findings.loss_table import LOSSES, PUBLISHED
from reports.findings.verdict import verdict
from reports.overview.advice import what_next, where_it_fails
from reports.overview.summary import in_short
from reports.page.render import fill, write_page
from reports.page.side_by_side import read_sides, side_by_side
from reports.sections.areas import class_areas
from reports.sections.cam import CamSection, cam_section
from reports.sections.crf import CrfSection, crf_section
from reports.sections.gallery import read_gallery
from reports.sections.loss import LossSection, loss_section
from reports.sections.provenance import provenance
from reports.sections.trials import TrialsTable, trials_table
from reports.style import formatting
from reports.style.interval_words import covers
from reports.style.study_words import progress
from sonarseg.files.plain_text import plain

REPORT = "report.html"


@dataclass(frozen=True)
class Card:
    """A number of the head of the page."""

    label: str
    value: str
    note: str


def write_report(workspace: Path, output: Path | None = None) -> Path:
    """Write the report of a workspace's studies, finished or not, and return its path.

    Parameters
    ----------
    workspace : Path
        Folder with `study.db`, and `runs/` and `pictures/` where they were made.
    output : Path, optional
        File to write; `workspace/report.html` by default.

    Raises
    ------
    UserError
        Where the database or a picture cannot be read, or the file cannot be written.
    """
    target = workspace / REPORT if output is None else output
    return write_page(target, render(workspace, datetime.now().astimezone()))


def write_side_by_side(workspaces: list[Path], output: Path) -> Path:
    """Write one page that lays the studies of several workspaces side by side.

    Raises
    ------
    UserError
        Where a database cannot be read, a workspace is named twice, or the file cannot be written.
    """
    return write_page(output, render_side_by_side(workspaces, datetime.now().astimezone()))


def render_side_by_side(workspaces: list[Path], now: datetime) -> str:
    """Render the page of several workspaces."""
    page = side_by_side(read_sides(workspaces))
    named = " ".join(shlex.quote(plain(workspace)) for workspace in workspaces)
    return fill(
        "side_by_side.html.j2",
        page.figures,
        [],
        now=now,
        page=page,
        title=formatting.listing([side.label for side in page.sides]),
        command=f"sonarseg report {named}",
    )


def render(workspace: Path, now: datetime) -> str:
    """Render the page; it is the same for the same workspace but for `now`."""
    studies = read_studies(workspace)
    cam = cam_section(studies["cam"]) if "cam" in studies else None
    crf = crf_section(studies["crf"]) if "crf" in studies else None
    loss = loss_section(studies["loss"], workspace) if "loss" in studies else None
    first = next(iter(studies.values()), None)
    judged = verdict(studies, workspace)
    return fill(
        "report.html.j2",
        _figures(crf, loss),
        _tables(cam, crf, loss),
        now=now,
        title=_title(first),
        study=first,
        verdict=judged,
        sentences=in_short(crf, loss, cam),
        failings=where_it_fails(crf, loss),
        advice=what_next(crf, loss, judged),
        cards=_cards(cam, crf, loss),
        confirmations=[each for study in studies.values() if (each := confirmed(study)) is not None],
        cam=cam,
        crf=crf,
        loss=loss,
        losses=LOSSES,
        published=PUBLISHED,
        gallery=read_gallery(workspace),
        areas=None if first is None else class_areas(workspace, loss, first.classes),
        provenance=provenance(studies, workspace),
    )


def _title(study: Study | None) -> str:
    """Name the page after the study, or after its survey where the study has no name."""
    if study is None:
        return "No study yet"
    config = study.attrs.get(attr.CONFIG)
    name = config.get("name") if isinstance(config, dict) else None
    return plain(name or study.survey.get("name") or "Study")


def _figures(crf: CrfSection | None, loss: LossSection | None) -> list[Figure]:
    found: list[Figure] = []
    if crf is not None:
        found += crf.figures + crf.slices
    if loss is not None:
        found += [] if loss.gain_figure is None else [loss.gain_figure]
        found += loss.comparison + [figure for curves in loss.curves for figure in curves.figures]
    return found


def _tables(cam: CamSection | None, crf: CrfSection | None, loss: LossSection | None) -> list[TrialsTable]:
    tables = []
    if cam is not None:
        tables.append(trials_table(cam.study, None if cam.best is None else cam.best.trials[0]))
    if crf is not None:
        tables.append(trials_table(crf.study, crf.study.best()))
    if loss is not None:
        winner = loss.table.winner(loss.study.metric)
        tables.append(trials_table(loss.study, winner.trials[0] if winner else None))
    return tables


def _cards(cam: CamSection | None, crf: CrfSection | None, loss: LossSection | None) -> list[Card]:
    cards = []
    if cam is not None and cam.best is not None:
        note = f"{cam.study.metric} · {cam.best.label}, before the CRF"
        cards.append(Card("best maps", formatting.score(cam.best.mean), note))
    if crf is not None and (best := crf.study.best()) is not None:
        note = best.name or f"trial {best.number}"
        cards.append(Card("best dense CRF", formatting.score(best.value), f"{crf.study.metric} · {note}"))
        if crf.search is not None and crf.search.known:
            note = (
                f"over the best untuned setting, on strips that did not choose · {covers(crf.search, 'val')}"
            )
            cards.append(Card("gain of the search", formatting.difference(crf.search.value), note))
    if loss is not None and (winner := loss.table.winner(loss.study.metric)) is not None:
        mean = formatting.score(winner.means[loss.study.metric])
        cards.append(Card("best loss", mean, f"{loss.study.metric} · {winner.label}"))
    for study in [section.study for section in (loss, crf) if section is not None]:
        again = confirmed(study)
        if again is not None and (row := again.decisive) is not None and row.gain is not None:
            note = f"{again.title} on {row.split} · {covers(row.gain, row.split)}"
            cards.append(Card(row.title, formatting.difference(row.gain.value), note))
            break
    done = [section.study for section in (cam, crf, loss) if section is not None]
    if done:
        note = " · ".join(progress(study) for study in done)
        number = sum(trial.counted for study in done for trial in study.trials)
        cards.append(Card("trials", str(number), note))
    return cards
