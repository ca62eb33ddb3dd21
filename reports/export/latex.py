"""Tables for a paper: LaTeX with booktabs, the best of every column bold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from objectives.records.study import Study
from reports.findings.confirmed import confirmed
from reports.findings.loss_gains import LossGains, loss_gains
from reports.findings.loss_table import TABLE_METRICS, loss_table
from reports.sections.crf import crf_section
from reports.style.formatting import count
from sonarseg.files.plain_text import plain
from sonarseg.metrics.bootstrap import Interval

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def latex_text(text: object) -> str:
    """Make text fit for LaTeX: nothing in it is a command."""
    return "".join(_ESCAPES.get(character, character) for character in plain(text))


def latex_tables(studies: dict[str, Study]) -> dict[str, str]:
    """Write every table that has a row, by the name of its file.

    Parameters
    ----------
    studies : dict
        "crf" and "loss", where they exist.
    """
    found = {
        "table_1": _losses(studies["loss"]) if "loss" in studies else "",
        "table_crf": _settings(studies["crf"]) if "crf" in studies else "",
        "table_confirmed": _confirmed(studies),
    }
    return {name: text for name, text in found.items() if text}


def _losses(study: Study) -> str:
    table = loss_table(study)
    if not table.rows:
        return ""
    gains = loss_gains(study, table)
    cells = [_column([row.means.get(name) for row in table.rows]) for name in TABLE_METRICS]
    rows = []
    for place, row in enumerate(table.rows):
        found = [None if gains is None else gains.of(row, name) for name in TABLE_METRICS]
        stars = [_star(gain) for gain in found]
        scores = [column[place] + star for column, star in zip(cells, stars, strict=True)]
        rows.append([latex_text(row.label), *scores, latex_text(row.setting)])
        if any(found):
            rows.append(["", *(_below(gain) for gain in found), ""])
    caption = (
        f"Losses in their best settings on val of {latex_text(study.survey.get('name', 'the survey'))}, "
        f"mean over {count(table.seeds, 'seed')}{_what_stands_below(gains)}."
    )
    head = ["Loss", *(rf"\texttt{{{latex_text(name)}}}" for name in TABLE_METRICS), "Setting"]
    return _table("lrrrl", head, rows, caption, "tab:losses")


def _settings(study: Study) -> str:
    section = crf_section(study)
    if not section.settings:
        return ""
    cells = [_column([row.trial.scores.get(name) for row in section.settings]) for name in TABLE_METRICS]
    rows = []
    for place, row in enumerate(section.settings):
        gain = "" if row.gain is None else _interval(row.gain)
        rows.append([latex_text(row.label), *(column[place] for column in cells), gain])
    caption = (
        f"Dense CRF settings on val of {latex_text(study.survey.get('name', 'the survey'))}; gain of the "
        rf"search over each untuned setting in \texttt{{{latex_text(study.metric)}}}, on strips that did not "
        f"choose ({latex_text(section.search_covers or 'not known')})."
    )
    head = ["Setting", *(rf"\texttt{{{latex_text(name)}}}" for name in TABLE_METRICS), "Gain of the search"]
    return _table("lrrrl", head, rows, caption, "tab:crf")


def _confirmed(studies: dict[str, Study]) -> str:
    rows, names = [], []
    for again in [found for study in studies.values() if (found := confirmed(study)) is not None]:
        for row in again.rows:
            metric, pair = latex_text(row.metric), [_figure(row.winner), _figure(row.baseline)]
            rows.append([again.study.kind, row.split, rf"\texttt{{{metric}}}", *pair, _interval(row.gain)])
        if again.rows:
            against = f"{latex_text(again.winner)} against {latex_text(again.baseline)}"
            names.append(f"{again.study.kind}: {against}, {latex_text(again.covers)}")
    if not rows:
        return ""
    caption = f"Winner and untuned baseline measured again; {'; '.join(names)}."
    head = ["Study", "Split", "Metric", "Winner", "Baseline", "Difference"]
    return _table("lllrrl", head, rows, caption, "tab:confirmed")


def _what_stands_below(gains: LossGains | None) -> str:
    """Tell in the caption what the small figures are."""
    if gains is None:
        return ""
    starred = ", * if the interval leaves zero out" if gains.known else ""
    return f"; below, the difference from cross-entropy ({latex_text(gains.covers)}{starred})"


def _star(gain: Interval | None) -> str:
    """Mark a difference whose interval leaves zero out."""
    return "$^{*}$" if gain is not None and gain.certain else ""


def _below(gain: Interval | None) -> str:
    return "" if gain is None else rf"\scriptsize {_interval(gain)}"


def _column(values: Sequence[float | None]) -> list[str]:
    """Write a column, its largest figures bold."""
    figures = [_figure(value) for value in values]
    known = [value for value in values if value is not None]
    best = _figure(max(known)) if known else None
    return [rf"\textbf{{{figure}}}" if figure == best else figure for figure in figures]


def _figure(value: float | None) -> str:
    return "--" if value is None else f"{value:.3f}"


def _interval(gain: Interval) -> str:
    if math.isnan(gain.value):
        return "--"
    if not gain.known:
        return f"${gain.value:+.3f}$"
    return f"${gain.value:+.3f}$ [${gain.low:+.3f}$, ${gain.high:+.3f}$]"


def _table(layout: str, head: list[str], rows: list[list[str]], caption: str, label: str) -> str:
    lines = [" & ".join(cells) + r" \\" for cells in rows]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{caption}}}",
            rf"  \label{{{label}}}",
            rf"  \begin{{tabular}}{{{layout}}}",
            r"    \toprule",
            "    " + " & ".join(head) + r" \\",
            r"    \midrule",
            *(f"    {line}" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )
