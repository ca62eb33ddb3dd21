"""Names and reasons with markup, scripts, formulas or terminal escapes come out as plain text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.records.read import read_studies
from reports.dashboard.notes import study_note
from reports.findings.verdict import verdict
from reports.page.build import render
from reports.page.render import script_json
from reports.style.formatting import figure_text, markdown_text
from sonarseg.files.plain_text import plain
from tests.support.hostile_workspace import ATTACKS, hostile_workspace
from tests.support.report_page import Page


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_workspace(tmp_path_factory.mktemp("hostile") / "w")


@pytest.fixture(scope="module")
def source(hostile: Path) -> str:
    return render(hostile, datetime(2026, 1, 1, tzinfo=UTC))


def test_page_keeps_its_structure(source: str, report: Path) -> None:
    page = Page(source)
    honest = Page.of(report)
    assert len(page.scripts) == len(honest.scripts) == 4
    assert not [attrs for tag, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in honest.tags}
    foreign = source.replace(page.scripts[2], "")  # plotly's own text aside
    assert "1337" not in foreign
    assert "<script>window.pwned" not in source
    for character in "\x1b\x00\u202e":
        assert character not in foreign
    assert ATTACKS[0] in page.text["pictures"]
    assert ATTACKS[3] in page.text["trials"]


def test_labels_of_figures_hold_no_tag(source: str) -> None:
    page = Page(source)

    def strings(value: object) -> list[str]:
        if isinstance(value, dict):
            return [text for item in value.values() for text in strings(item)]
        if isinstance(value, list):
            return [text for item in value for text in strings(item)]
        return [value] if isinstance(value, str) else []

    for text in strings(page.figures()):
        if text != "%{y:.3f}<extra>%{fullData.name}</extra>" and text != "%{text}<extra></extra>":
            assert not set("<>") & set(re.sub(r"<br>|^<b>|</b>$", "", text)), text


def test_notes_hold_no_markup(hostile: Path) -> None:
    studies = read_studies(hostile)
    for study in studies.values():
        note = study_note(study, hostile, verdict(studies, hostile))
        assert "<" not in note
        assert "\x1b" not in note
        assert "https://" not in note


@settings(deadline=None)
@given(st.text())
def test_script_json_cannot_end_its_element(text: str) -> None:
    written = script_json({"name": text})
    assert json.loads(written) == {"name": text}
    assert not set(written) & set("<>&\u2028\u2029")


@settings(deadline=None)
@given(st.text())
def test_plain_text_is_one_line_without_control_characters(text: str) -> None:
    found = plain(text)
    assert found == plain(found)
    assert found.isprintable()
    assert not set(figure_text(text)) & set("<>")


def test_markdown_is_shown_as_it_is_written() -> None:
    assert markdown_text("a_b *c* | [x](y)") == r"a\_b \*c\* \| \[x\]\(y\)"
    assert markdown_text("www.x.org http://y <b>") == r"www\.x.org http\://y &lt;b&gt;"
