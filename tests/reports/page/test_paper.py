"""Tables on paper: none runs over what stands next to it, however many and long its class names are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports.page.build import render
from tests.support.fake_studies import CRF_SPACE, PUBLISHED, add, new_study, study_attrs
from tests.support.report_browser import Browser, pytestmark  # noqa: F401

LONG = [f"sediment of kind {index}, rippled" for index in range(7)] + ["Posidonia_oceanica_dead_matte"]
# Tables and figures that are wider than what holds them
OVERFLOWING = """[...document.querySelectorAll('table')].filter(table => {
  const box = table.closest('.confusion, .scroll') || table.parentElement;
  return table.getBoundingClientRect().right > box.getBoundingClientRect().right + 1;
}).map(table => table.textContent.slice(0, 60))
"""
# Headings of one word that take more than one line
BROKEN = """[...document.querySelectorAll('.wide thead th')].filter(head => {
  const text = head.textContent.trim(), range = document.createRange();
  range.selectNodeContents(head);
  return text && !/\\s/.test(text) && range.getBoundingClientRect().height > 24;
}).map(head => head.textContent.trim())
"""


@pytest.fixture(scope="module")
def long_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of a crf study of many classes with long names."""
    root = tmp_path_factory.mktemp("long")
    study = new_study(root, "crf", study_attrs("crf", LONG))
    for name, setting in PUBLISHED.items():
        add(study, CRF_SPACE, setting, 0.6, classes=LONG, name=name)
    add(study, CRF_SPACE, PUBLISHED["IRN"] | {"sigma_alpha": 12.0}, 0.8, classes=LONG)
    path = root / "report.html"
    path.write_text(render(root, datetime(2026, 1, 1, tzinfo=UTC)), "utf-8")
    return path


@pytest.mark.parametrize("page", ["report", "long_names"])
def test_no_table_overlaps_another_on_paper(
    browser: Browser, page: str, request: pytest.FixtureRequest
) -> None:
    browser.open(request.getfixturevalue(page), 1440)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.driver.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.ask("document.querySelectorAll('.confusion table').length") > 1
    assert browser.ask(OVERFLOWING) == []
    assert browser.ask(BROKEN) == []
    browser.driver.execute_script("window.dispatchEvent(new Event('afterprint'))")
