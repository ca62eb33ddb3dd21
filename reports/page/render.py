"""The page that every report stands on: templates, style, scripts, and how it reaches the disk."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from reports.figures.base import Figure
from reports.findings.loss_table import PAPER
from reports.sections.trials import TrialsTable, state_counts, trials_data, value
from reports.style import formatting
from reports.style.study_words import foreign_note
from sonarseg import __version__
from sonarseg.errors import UserError
from sonarseg.files.plain_text import plain

SCRIPTS = ("page.js", "plots.js", "trials.js", "pictures.js")


def fill(template: str, figures: list[Figure], tables: list[TrialsTable], **more: Any) -> str:
    """Fill a template of `reports/page/templates` with its figures, tables and everything they need.

    plotly is put in once, and only where there is a figure.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            version=__version__,
            tables=tables,
            figures_json=script_json({figure.key: figure.specification() for figure in figures}),
            trials_json=script_json({table.study.kind: trials_data(table) for table in tables}),
            plotly=Markup(get_plotlyjs()) if figures else "",
            css=_asset("report.css"),
            script=Markup("\n").join(_asset(name) for name in SCRIPTS),
            **more,
        )
    )


def write_page(target: Path, text: str) -> Path:
    """Write a page whole or not at all.

    Raises
    ------
    UserError
        Where it cannot be written.
    """
    try:
        _replace(target, text)
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({error.strerror}): choose another place with -o."
        ) from error
    return target


def script_json(content: Any) -> Markup:
    """JSON that a script element may hold: no text in it can end the element."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.page", "templates"),
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
        "percent": formatting.percent,
        "coded": _coded,
        "plain": plain,
    }
    environment.globals |= {
        "count": formatting.count,
        "foreign_note": foreign_note,
        "interval": formatting.interval,
        "metric_value": value,
        "metric_meanings": formatting.METRIC_MEANINGS,
        "paper": PAPER,
        "units": formatting.PARAMETER_UNITS,
        "state_counts": state_counts,
    }
    return environment


def _coded(text: str) -> Markup:
    """Set what stands between backticks as code; everything is escaped."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 and place + 1 < len(parts) else part
        for place, part in enumerate(parts)
    )


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
