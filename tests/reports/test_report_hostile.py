"""Names and reasons with markup, scripts, formulas or terminal escapes come out as plain text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_studies import CRF_SPACE, LOSS_SPACE, PUBLISHED, add, crf_quality, new_study, study_attrs
from fake_workspace import write_pictures
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from report_page import Page

from reports.dashboard_notes import study_note
from reports.database import read_studies
from reports.formatting import figure_text, markdown_text, plain
from reports.html import render
from reports.page import script_json
from reports.verdict import verdict

ATTACKS = [
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror=window.pwned=1>",
    '" onmouseover="window.pwned=1" x="',
    "{{ 7 * 191 }}{% raw %}",
    "<!--<script>",
    "\x1b[31mred\x1b[0m\u202edesrever\x00",
    "=HYPERLINK(1)",
    "<b>bold</b> %{y} &lt;i&gt; <a href='https://example.org'>x</a>",
]


def hostile_workspace(workspace: Path) -> Path:
    classes = ATTACKS[:4]
    attrs = study_attrs("crf", classes, device=ATTACKS[1], versions={ATTACKS[0]: ATTACKS[1]})
    attrs["survey"]["name"] = "bay " + " ".join(ATTACKS)
    attrs |= {"config": {ATTACKS[0]: ATTACKS[7]}, "test_openings": [{"time": "now", "what": ATTACKS[0]}]}
    crf = new_study(workspace, "crf", attrs)
    for number, attack in enumerate(ATTACKS):
        params = {**PUBLISHED["IRN"], "unary": "soft", "guide": "raw", "sigma_alpha": 10.0 + number}
        add(crf, CRF_SPACE, params, crf_quality(params), classes=classes, name=attack, enqueued=True)
        add(crf, CRF_SPACE, params, None, classes=classes, state=TrialState.FAIL, reason=attack)
    add(crf, CRF_SPACE, {**PUBLISHED["IRN"], "iterations": 3}, 0.6, noise=4, classes=classes)
    loss = new_study(workspace, "loss", attrs | {"kind": "loss"})
    for attack in ATTACKS:
        add(
            loss, LOSS_SPACE, {"loss": "focal", "gamma": 1.0, "alpha": 0.5}, 0.7, classes=classes,
            name=attack, setting=attack, seed=0, run="../../../../etc", intermediate={1: 0.2, 2: 0.3},
        )  # fmt: skip
    write_pictures(workspace, rows=1, classes=classes)
    rows = workspace / "pictures" / "rows.json"
    content = json.loads(rows.read_text(encoding="utf-8"))
    content["rows"][0]["tile"] = ATTACKS[0]
    content["rows"][0]["panels"][1]["title"] = ATTACKS[2]
    rows.write_text(json.dumps(content), encoding="utf-8")
    return workspace


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
