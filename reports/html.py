"""Puts the report together: one HTML file that needs nothing else."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports import formatting
from reports.crf_section import CrfSection, crf_section
from reports.database import Study, read_studies
from reports.figures import Figure
from reports.loss_section import LossSection, loss_section
from reports.loss_table import LOSSES, PUBLISHED
from reports.pictures import read_gallery
from reports.provenance import provenance
from reports.summary import in_short
from reports.trials_table import TrialsTable, trials_table, value
from sonarseg import __version__
from sonarseg.errors import UserError

REPORT = "report.html"


@dataclass(frozen=True)
class Card:
    """A number of the head of the page."""

    label: str
    value: str
    note: str


def write_report(workspace: Path, output: Path | None = None) -> Path:
    """Write the report of a workspace's studies, finished or not.

    Parameters
    ----------
    workspace : Path
        Folder with `study.db`, and `runs/` and `pictures/` where they were made.
    output : Path, optional
        File to write; `workspace/report.html` by default.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    UserError
        Where the database or a picture cannot be read, or the file cannot be written.
    """
    target = workspace / REPORT if output is None else output
    text = render(workspace, datetime.now().astimezone())
    try:
        _replace(target, text)
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({error.strerror}): choose another place with -o."
        ) from error
    return target


def render(workspace: Path, now: datetime) -> str:
    """Render the page; it is the same for the same workspace but for `now`."""
    studies = read_studies(workspace)
    crf = crf_section(studies["crf"]) if "crf" in studies else None
    loss = loss_section(studies["loss"], workspace) if "loss" in studies else None
    figures = _figures(crf, loss)
    first = next(iter(studies.values()), None)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            now=now,
            version=__version__,
            title=_title(first),
            study=first,
            sentences=in_short(crf, loss),
            cards=_cards(crf, loss),
            crf=crf,
            loss=loss,
            losses=LOSSES,
            published=PUBLISHED,
            gallery=read_gallery(workspace),
            tables=_tables(crf, loss),
            provenance=provenance(studies, workspace),
            figures_json=script_json({figure.key: figure.specification() for figure in figures}),
            plotly=Markup(get_plotlyjs()) if figures else "",
            css=_asset("report.css"),
            script=_asset("report.js"),
        )
    )


def _title(study: Study | None) -> str:
    """Name the page after the study, or after its survey where the study has no name."""
    if study is None:
        return "No study yet"
    config = study.attrs.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return formatting.plain(name or study.survey.get("name") or "Study")


def script_json(content: Any) -> Markup:
    """JSON that a script element may hold: no text in it can end the element."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _figures(crf: CrfSection | None, loss: LossSection | None) -> list[Figure]:
    found: list[Figure] = []
    if crf is not None:
        found += crf.figures + crf.slices
    if loss is not None:
        found += loss.comparison + [figure for curves in loss.curves for figure in curves.figures]
    return found


def _tables(crf: CrfSection | None, loss: LossSection | None) -> list[TrialsTable]:
    tables = []
    if crf is not None:
        tables.append(trials_table(crf.study, crf.study.best()))
    if loss is not None:
        winner = loss.table.winner(loss.study.metric)
        tables.append(trials_table(loss.study, winner.trials[0] if winner else None))
    return tables


def _cards(crf: CrfSection | None, loss: LossSection | None) -> list[Card]:
    cards = []
    if crf is not None and (best := crf.study.best()) is not None:
        note = best.name or f"trial {best.number}"
        cards.append(Card("best dense CRF", formatting.score(best.value), f"{crf.study.metric} · {note}"))
        if crf.gain is not None and crf.best_untuned is not None:
            note = f"over {crf.best_untuned.name}"
            if crf.gain.known:
                note += f" · 95 % {formatting.interval(crf.gain.low, crf.gain.high)}"
            cards.append(Card("gain by tuning", formatting.difference(crf.gain.value), note))
    if loss is not None and (winner := loss.table.winner(loss.study.metric)) is not None:
        mean = formatting.score(winner.means[loss.study.metric])
        cards.append(Card("best loss", mean, f"{loss.study.metric} · {winner.label}"))
    done = [(section.study.kind, section.study) for section in (crf, loss) if section is not None]
    if done:
        number = sum(len(study.complete) for _, study in done)
        note = " · ".join(f"{len(study.complete)} of {len(study.trials)} {kind}" for kind, study in done)
        cards.append(Card("completed trials", str(number), note))
    return cards


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": formatting.score,
        "difference": formatting.difference,
        "parameter": formatting.parameter,
        "seconds": formatting.seconds,
        "plain": formatting.plain,
    }
    environment.globals |= {
        "count": formatting.count,
        "interval": formatting.interval,
        "metric_value": value,
        "metric_meanings": formatting.METRIC_MEANINGS,
        "units": formatting.PARAMETER_UNITS,
        "state_counts": _state_counts,
    }
    return environment


def _state_counts(study: Study) -> str:
    return formatting.listing([f"{number} {state}" for state, number in study.counts().items() if number])


def _asset(name: str) -> Markup:
    return Markup((Path(__file__).parent / "templates" / name).read_text(encoding="utf-8"))


def _replace(target: Path, text: str) -> None:
    """Write whole or not at all: a report that is open in a browser is never half a report."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=target.parent, prefix=target.name, suffix=".partial", delete=False
    ) as partial:
        try:
            partial.write(text)
            partial.flush()
            # a temporary file is readable by its owner alone; a report is meant to be passed on
            Path(partial.name).chmod(0o644)
            Path(partial.name).replace(target)
        except BaseException:
            Path(partial.name).unlink(missing_ok=True)
            raise
