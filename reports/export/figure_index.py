"""The page that lies beside exported figures and says which file shows what."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from markupsafe import Markup
from plotly import graph_objects

INDEX = "index.html"
_GROUPS = {"cam": "Cam study", "crf": "Dense CRF study", "loss": "Loss study"}
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:1100px;margin:32px auto;padding:0 20px;color:#16222b}"
    "ul{list-style:none;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));"
    "gap:24px}img{width:100%;border:1px solid #dde4e8}a{color:#0d6e8c}"
)


def figure_index(figures: Mapping[str, graph_objects.Figure], formats: Sequence[str]) -> str:
    """Write the page: a heading per study, and each figure with its title and its files.

    Parameters
    ----------
    figures : mapping
        Name of the file, without its ending, to figure; it begins with the kind of its study.
    formats : sequence of str
        Endings of the files, one at least.
    """
    parts = [
        Markup(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Figures of the studies</title>'
            "<style>{}</style><h1>Figures of the studies</h1>"
        ).format(Markup(_STYLE))
    ]
    for kind, heading in _GROUPS.items():
        mine = {name: figure for name, figure in figures.items() if name.startswith(f"{kind}-")}
        if mine:
            items = Markup("\n").join(_item(name, title_of(figure), formats) for name, figure in mine.items())
            parts.append(Markup("<h2>{}</h2>\n<ul>\n{}\n</ul>").format(heading, items))
    return Markup("\n").join(parts) + "\n</html>\n"


def title_of(figure: graph_objects.Figure) -> str:
    """Title of a figure as text; plotly keeps it as markup."""
    return html.unescape(str(figure.layout.title.text))


def _item(name: str, title: str, formats: Sequence[str]) -> Markup:
    files = Markup(", ").join(
        Markup('<a href="{0}">{0}</a>').format(f"{name}.{ending}") for ending in formats
    )
    return Markup('<li><img src="{}" alt=""><br><b>{}</b><br>{}</li>').format(
        f"{name}.{formats[0]}", title, files
    )
