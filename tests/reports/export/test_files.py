"""Exports: the numbers of the database in every format, hostile text inert, figures drawn by a browser."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from objectives.records.read import read_studies
from reports.dashboard.figures import confusion_figure, dashboard_figures
from reports.export import figures as export_figures
from reports.export.figure_index import figure_index, title_of
from reports.export.figures import draw_figures
from reports.export.files import export
from reports.export.latex import latex_text
from reports.export.tables import inert_csv
from reports.findings.loss_gains import loss_gains
from reports.findings.loss_table import loss_table
from sonarseg.errors import UserError
from sonarseg.metrics.confusion import pack_confusions
from sonarseg.metrics.iou import miou
from tests.support.fake_studies import CRF_SPACE, PUBLISHED, add, new_study, study_attrs

HOSTILE = "=HYPERLINK(1) & \\input{x} 50% $a_b^c$ #~ <i>\x1b[31m"


def test_trials_are_those_of_the_database(workspace: Path, tmp_path: Path) -> None:
    names = [path.name for path in export(workspace, tmp_path, ["csv", "parquet"])]
    assert {"crf_trials.csv", "loss_trials.parquet", "loss_epochs.csv", "crf_tiles.parquet"} <= set(names)
    for kind, study in read_studies(workspace).items():
        rows = list(csv.DictReader((tmp_path / f"{kind}_trials.csv").open()))
        table = pd.read_parquet(tmp_path / f"{kind}_trials.parquet")
        assert len(rows) == len(table) == len(study.trials)
        for row, (_, record), trial in zip(rows, table.iterrows(), study.trials, strict=True):
            assert int(row["trial"]) == record["trial"] == trial.number
            assert row["state"] == trial.state
            assert row["reason"] == (trial.reason or "")
            if trial.value is not None:
                assert float(row["miou_multiclass"]) == record["miou_multiclass"] == trial.value
                assert float(row["iou/rock"]) == trial.iou["rock"]
            for name, value in trial.params.items():
                assert row[f"param/{name}"] == str(value)
                assert record[f"param/{name}"] == value


def test_tiles_and_epochs(workspace: Path, tmp_path: Path) -> None:
    export(workspace, tmp_path, ["parquet"])
    study = read_studies(workspace)["crf"]
    tiles = pd.read_parquet(tmp_path / "crf_tiles.parquet")
    trial = study.complete[7]
    assert trial.confusions is not None
    mine = tiles[tiles.trial == trial.number]
    assert list(mine.tile) == study.attrs["tiles"]
    assert list(mine.miou) == [miou(matrix[None]) for matrix in trial.confusions]
    epochs = pd.read_parquet(tmp_path / "loss_epochs.parquet")
    assert list(epochs[epochs.trial == 0].epoch) == list(range(1, 41))
    assert list(epochs[epochs.trial == 0]["round"])[:11] == [0] * 10 + [1]


def test_latex_tables_hold_the_means_and_mark_the_best(workspace: Path, tmp_path: Path) -> None:
    export(workspace, tmp_path, ["latex"])
    text = (tmp_path / "table_1.tex").read_text()
    table = loss_table(read_studies(workspace)["loss"])
    found = re.findall(r"^    (?!Loss)([^\\\n]*&.*) \\\\$", text, re.MULTILINE)
    rows = [row for row in found if not row.startswith(" & ")]
    assert [row.split(" & ")[0] for row in rows] == [row.label for row in table.rows]
    for row, expected in zip(rows, table.rows, strict=True):
        figure = f"{expected.means['miou_multiclass']:.3f}"
        best = expected is table.winner("miou_multiclass")
        assert row.split(" & ")[3].removesuffix("$^{*}$") == (rf"\textbf{{{figure}}}" if best else figure)
    gains = loss_gains(read_studies(workspace)["loss"], table)
    assert gains is not None
    below = [row.split(" & ")[3] for row in found if row.startswith(" & ")]
    for row, expected in zip(below, table.rows[1:], strict=True):
        gain = gains.of(expected, "miou_multiclass")
        assert gain is not None
        # The tiles that chose the focal setting give it no interval.
        assert gain.known == (expected.tried == 1)
        interval = f"${gain.value:+.3f}$"
        if gain.known:
            interval += f" [${gain.low:+.3f}$, ${gain.high:+.3f}$]"
        assert row == rf"\scriptsize {interval}"
        (above,) = (row for row in rows if row.startswith(expected.label))
        assert above.split(" & ")[3].endswith("$^{*}$") == (gain.low > 0 or gain.high < 0)
    assert "6 strips of val and 3 seeds resampled" in text
    crf = (tmp_path / "table_crf.tex").read_text()
    assert crf.count(r" \\") == 1 + len(PUBLISHED) + 1
    assert all(line.count(" & ") == 4 for line in crf.splitlines() if line.endswith(r"\\"))


def test_a_confirmation_is_exported(tmp_path: Path) -> None:
    sides = {"winner": [[7, 1], [1, 7]], "baseline": [[6, 2], [2, 6]]}
    record = {
        "winner": {"name": HOSTILE},
        "baseline": {"name": "no CRF"},
        "seeds": [None],
        "groups": {"test": ["one", "one"]},
        "runs": [
            {
                "role": role,
                "seed": None,
                "reason": None,
                "confusions": {"test": pack_confusions(np.array([tile] * 2))},
            }
            for role, tile in sides.items()
        ],
    }
    study = new_study(tmp_path, "crf", study_attrs("crf", ["a", "b"], confirm=record))
    add(study, CRF_SPACE, PUBLISHED["IRN"], 0.6, classes=["a", "b"])
    export(tmp_path, tmp_path / "out", ["csv", "latex"])
    rows = list(csv.DictReader((tmp_path / "out" / "confirmed.csv").open()))
    row = rows[1]
    assert (row["metric"], row["low"], row["high"], row["pairs"]) == ("miou", "", "", "1")
    assert float(row["winner"]) == pytest.approx(7 / 9)
    assert float(row["difference"]) == pytest.approx(7 / 9 - 0.6)
    assert "too few strips, 1 of test" in row["covers"]
    assert row["winner_name"].startswith("'=HYPERLINK")
    latex = (tmp_path / "out" / "table_confirmed.tex").read_text()
    assert r"\input" not in latex
    assert r"test & \texttt{miou} & 0.778 & 0.600 & $+0.178$ \\" in latex


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", '=cmd|"/c calc"!A0', "\t=1", "\tx", "\rx", "'=1"]
)
def test_no_csv_cell_is_a_formula(text: str) -> None:
    written = inert_csv(pd.DataFrame({text: [text, "plain", -1.5]}))
    head, first, second, third = (row[0] for row in csv.reader(io.StringIO(written)))
    assert head == first == f"'{text}"
    assert (second, third) == ("plain", "-1.5")


def test_latex_text_holds_no_command() -> None:
    text = latex_text(HOSTILE)
    assert "\x1b" not in text
    commands = set(re.findall(r"\\(?:[a-z]+|.)", text))
    known = {"textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater"}
    assert commands == {f"\\{name}" for name in known} | {"\\&", "\\{", "\\}", "\\%", "\\$", "\\#", "\\_"}


@pytest.mark.browser
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_figures_are_drawn_in_both_formats(workspace: Path) -> None:
    figures = dashboard_figures(read_studies(workspace)["loss"], workspace)
    chosen = {name: figures[name] for name in ("table-1", "loss-confusion", "loss-classes")}
    drawn = draw_figures(chosen, ["svg", "png"])
    assert set(drawn) == {f"{name}.{kind}" for name in chosen for kind in ("svg", "png")}
    for name, figure in chosen.items():
        svg = ElementTree.fromstring(drawn[f"{name}.svg"])
        assert figure.layout.title.text in "".join(svg.itertext())
        with Image.open(io.BytesIO(drawn[f"{name}.png"])) as png:
            assert png.size == (2 * export_figures.WIDTH, 2 * export_figures.HEIGHT)
            assert len(png.convert("RGB").getcolors(1 << 24) or []) > 20


def test_files_of_figures_say_what_they_show_and_the_index_names_them_all(workspace: Path) -> None:
    figures = export_figures.export_figures(read_studies(workspace), workspace)
    assert {"crf-slice-sigma_beta", "crf-history", "loss-table", "loss-focal-miou"} <= set(figures)
    assert all(re.fullmatch(r"(crf|loss)-[A-Za-z0-9_-]+", name) for name in figures)
    titles = [title_of(figure) for name, figure in figures.items() if name.startswith("crf-")]
    assert len(set(titles)) == len(titles)
    assert "miou_multiclass by sigma_beta (grey levels)" in titles
    page = figure_index(figures, ["png", "svg"])
    assert re.findall(r'<img src="([^"]+)"', page) == [f"{name}.png" for name in figures]
    for name, figure in figures.items():
        assert f"<b>{html.escape(title_of(figure))}</b>" in page
        assert f'<a href="{name}.svg">{name}.svg</a>' in page
    assert page.index("Dense CRF study") < page.index("crf-history.png") < page.index("Loss study")


def test_hostile_titles_stay_text_in_the_index() -> None:
    figures = {"crf-confusion": confusion_figure(np.eye(2, dtype=np.int64), ["a", "b"], HOSTILE)}
    page = figure_index(figures, ["png"])
    assert "<i>" not in page
    assert "&lt;i&gt;" in page


def test_without_a_browser_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"t": confusion_figure(np.eye(2, dtype=np.int64), ["a", "b"], "t")}
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="apt install chromium"):
        draw_figures(figures, ["svg"])
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/false")
    with pytest.raises(UserError, match=r"did not draw t\.svg"):
        draw_figures(figures, ["svg"])


def test_nothing_to_export_and_nowhere_to_write(workspace: Path, tmp_path: Path) -> None:
    new_study(tmp_path / "empty", "crf")
    with pytest.raises(UserError, match="holds no trial yet"):
        export(tmp_path / "empty", tmp_path, ["csv"])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another folder with -o"):
        export(workspace, tmp_path / "file", ["csv"])
