"""Figures as SVG or PNG files, drawn by a browser that the machine has; nothing is fetched."""

from __future__ import annotations

import base64
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from plotly import graph_objects
from plotly.offline import get_plotlyjs

from objectives.records.study import Study
from reports.dashboard.figures import TABLE_1, dashboard_figures, page_figure
from reports.export.browser import find_browser, last_words, run_browser
from reports.sections.crf import crf_section
from sonarseg.errors import UserError

FigureFormat = Literal["svg", "png"]
WIDTH, HEIGHT, PNG_SCALE = 760, 440, 2
INK = "#2d373e"


def export_figures(studies: dict[str, Study], workspace: Path) -> dict[str, graph_objects.Figure]:
    """Collect the figures of all studies, by the name of their file: the study's kind, then what is shown."""
    figures: dict[str, graph_objects.Figure] = {}
    for study in studies.values():
        if study.kind == "crf":
            figures |= _crf_figures(study)
        drawn = dashboard_figures(study, workspace)
        figures |= {"loss-table" if key == TABLE_1 else key: figure for key, figure in drawn.items()}
    return figures


def _crf_figures(study: Study) -> dict[str, graph_objects.Figure]:
    """Collect the figures of the page; slices are named after their parameters."""
    section = crf_section(study)
    figures = {figure.key: page_figure(figure) for figure in section.figures}
    for parameter, figure in zip(section.parameters, section.slices, strict=False):
        name = "crf-slice-" + re.sub(r"[^A-Za-z0-9_]+", "-", parameter)
        name = figure.key if name in figures else name
        figures[name] = page_figure(figure, f"{study.metric} by {figure.title}")
    return figures


def draw_figures(
    figures: dict[str, graph_objects.Figure], formats: Sequence[FigureFormat]
) -> dict[str, bytes]:
    """Draw figures in a browser without a window.

    Parameters
    ----------
    figures : dict
        Name to figure.
    formats : sequence of {"svg", "png"}
        What to make of each.

    Returns
    -------
    dict
        File name to content.

    Raises
    ------
    UserError
        Where there is no browser, or it draws nothing.
    """
    browser = find_browser("SVG and PNG figures are drawn")
    with tempfile.TemporaryDirectory(prefix="sonarseg-") as folder:
        page = Path(folder) / "figures.html"
        page.write_text(_page(figures, formats), encoding="utf-8")
        ended = run_browser(browser, page, Path(folder), ["--dump-dom"])
    text = ended.stdout.decode("utf-8", errors="replace")
    found = re.search(r'<pre id="drawn">(.*?)</pre>', text, re.DOTALL)
    drawn: dict[str, str] = json.loads(base64.b64decode(found[1])) if found and found[1] else {}
    missing = [f"{name}.{kind}" for name in figures for kind in formats if f"{name}.{kind}" not in drawn]
    if missing:
        raise UserError(f"{browser} did not draw {missing[0]} ({last_words(ended)}).")
    return {name: _content(address) for name, address in drawn.items()}


def _content(address: str) -> bytes:
    """Decode a data address."""
    head, _, data = address.partition(",")
    return base64.b64decode(data) if head.endswith(";base64") else unquote(data).encode("utf-8")


def _page(figures: dict[str, graph_objects.Figure], formats: Sequence[FigureFormat]) -> str:
    """Write a page that draws every figure on white and leaves the files, as base64, in its text."""
    specifications = {name: json.loads(figure.to_json()) for name, figure in figures.items()}
    for specification in specifications.values():
        layout = specification["layout"]
        layout |= {"paper_bgcolor": "#fff", "width": WIDTH, "height": HEIGHT}
        layout["font"] |= {"color": INK}
    given = base64.b64encode(json.dumps(specifications).encode()).decode("ascii")
    return f"""<!doctype html><meta charset="utf-8"><body><pre id="drawn"></pre>
<script>{get_plotlyjs()}</script>
<script>
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const figures = JSON.parse(new TextDecoder().decode(bytes("{given}")));
(async () => {{
  const drawn = {{}};
  for (const [name, figure] of Object.entries(figures)) {{
    for (const format of {json.dumps(list(formats))}) {{
      const size = {{format, width: {WIDTH}, height: {HEIGHT}, scale: format === "png" ? {PNG_SCALE} : 1}};
      drawn[name + "." + format] = await Plotly.toImage(figure, size);
    }}
  }}
  const text = new TextEncoder().encode(JSON.stringify(drawn));
  let binary = "";
  for (let i = 0; i < text.length; i += 32768) binary += String.fromCharCode(...text.subarray(i, i + 32768));
  document.getElementById("drawn").textContent = btoa(binary);
}})();
</script>
"""
