"""The report in headless Chromium: drawn whole, quiet, sortable, inside its width, inert."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from reports.page.build import render, write_report
from tests.support.fake_studies import TILES, confusions
from tests.support.hostile_workspace import hostile_workspace
from tests.support.learned_studies import by_chance, learned
from tests.support.report_browser import AXE, Browser
from tests.support.report_page import Page


def contrast(first: str, second: str) -> float:
    """Contrast of two "rgb(r, g, b)" colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (900, False), (390, True)])
def test_drawn_whole_and_quiet(browser: Browser, report: Path, width: int, dark: bool) -> None:
    browser.open(report, width, dark)
    figures = Page.of(report).figures()
    assert browser.ask("document.querySelectorAll('.canvas').length") == len(figures)
    assert browser.ask("document.querySelectorAll('.canvas .subplot').length") >= len(figures)
    for key, figure in figures.items():
        drawn = f'document.querySelectorAll(\'[id="{key}"] .trace, [id="{key}"] .contour\').length'
        assert browser.ask(drawn) == len(figure["data"]), key
    assert browser.ask("document.documentElement.scrollWidth") == width
    over = "c.querySelector('svg').clientWidth - c.clientWidth"
    assert max(browser.ask(f"[...document.querySelectorAll('.canvas')].map(c => {over})")) <= 0
    requests = browser.ask("performance.getEntriesByType('resource').map(r => r.name)")
    assert not [name for name in requests if not name.startswith("data:")]
    assert browser.errors() == []


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_legible(browser: Browser, report: Path, dark: bool) -> None:
    browser.open(report, 1440, dark)
    paper = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert contrast(paper, "rgb(0, 0, 0)" if not dark else "rgb(255, 255, 255)") > 12
    for selector in (
        "h1",
        ".lede p:last-child",
        ".caption",
        ".about",
        "td",
        "nav a",
        ".state.failed",
        "td.best",
    ):
        colour = browser.ask(f"getComputedStyle(document.querySelector('{selector}')).color")
        assert contrast(paper, colour) >= 4.5, selector
    tick = browser.ask("getComputedStyle(document.querySelector('#crf-history .xtick text')).fill")
    assert contrast(paper, tick) >= 4.5
    for colour in ("rgb(27, 135, 166)", "rgb(125, 138, 148)", "rgb(193, 125, 0)", "rgb(194, 87, 26)"):
        assert contrast(paper, colour) >= 3


@pytest.mark.parametrize(
    ("runs", "strips", "told"),
    [
        ([by_chance(0), by_chance(1), by_chance(2)], 6, "No better than guessing: "),
        ([confusions(0.8, 1)], 6, "Usable, not confirmed: "),
        ([confusions(0.8, 1)], 1, "(no interval: too few strips, 1 of val; it takes 6)"),
    ],
)
def test_the_first_line_says_whether_the_model_is_of_use(
    browser: Browser, tmp_path: Path, runs: list[NDArray[np.int64]], strips: int, told: str
) -> None:
    groups = [f"strip{place * strips // len(TILES)}" for place in range(len(TILES))]
    browser.open(write_report(learned(tmp_path, runs, groups=groups)), 900)
    first = "document.querySelector('h1').nextElementSibling"
    assert told in browser.ask(f"{first}.innerText")
    assert browser.ask(f"{first}.getBoundingClientRect().height") > 20
    paper, ink = (browser.ask(f"getComputedStyle({first}).{name}") for name in ("backgroundColor", "color"))
    assert contrast(paper, ink) >= 4.5
    assert browser.ask("document.documentElement.scrollWidth") == 900


def test_theme_button_turns_the_page_round(browser: Browser, report: Path) -> None:
    browser.open(report, 1440)
    before = browser.ask("getComputedStyle(document.body).backgroundColor")
    button = browser.driver.find_element(By.ID, "theme")
    button.click()
    dark = browser.ask("getComputedStyle(document.body).backgroundColor")
    button.click()
    assert contrast(before, dark) > 12
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == before


def test_trials_are_sorted_by_a_click(browser: Browser, report: Path) -> None:
    browser.open(report, 1440)
    table = browser.driver.find_element(By.CSS_SELECTOR, "#trials table")

    def column(place: int) -> list[str]:
        return browser.driver.execute_script(  # type: ignore[no-any-return]
            "return [...arguments[0].tBodies[0].rows].map(r => r.cells[arguments[1]].dataset.value)",
            table,
            place,
        )

    head = table.find_elements(By.CSS_SELECTOR, "thead button")[2]
    for descending in (False, True):
        browser.driver.execute_script("arguments[0].click()", head)
        values = column(2)
        numbers = [float(value) for value in values if value]
        assert numbers == sorted(numbers, reverse=descending)
        assert values[len(numbers) :] == ["", ""]  # the two failed trials stay below
    assert browser.errors() == []


def test_each_parameter_is_a_column_of_numbers_on_the_screen_and_one_text_on_paper(
    browser: Browser, report: Path
) -> None:
    browser.open(report, 1440)
    heads = "[...document.querySelectorAll('table.of-crf thead th')]"
    shown = f"{heads}.filter(h => h.clientWidth > 0).map(h => h.textContent.trim())"
    assert "sigma_beta" in browser.ask(shown)
    assert "Parameters" not in browser.ask(shown)
    place = browser.ask(f"{heads}.findIndex(h => h.textContent.trim() === 'sigma_beta')")
    browser.driver.execute_script(f"{heads}[{place}].querySelector('button').click()")
    cells = (
        f"[...document.querySelectorAll('table.of-crf tbody tr')].map(r => r.cells[{place}].dataset.value)"
    )
    numbers = [float(value) for value in browser.ask(cells) if value]
    assert len(set(numbers)) > 5
    assert numbers == sorted(numbers)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert "sigma_beta" not in browser.ask(shown)
    assert "Parameters" in browser.ask(shown)


def test_classes_can_be_laid_over_the_tile(browser: Browser, report: Path) -> None:
    browser.open(report, 1440)
    browser.driver.execute_script("document.getElementById('overlay').click()")
    panel = "document.querySelector('.panel:not(.tile, .heat) .layer')"
    assert "data:image/webp" in browser.ask(f"getComputedStyle({panel}).backgroundImage")
    assert browser.ask(f"getComputedStyle({panel}.querySelector('img')).opacity") == "0.5"
    assert browser.ask("[...document.images].every(image => image.naturalWidth > 0)")
    assert browser.errors() == []


def test_two_pictures_are_compared_and_the_lens_moves_by_keys(browser: Browser, report: Path) -> None:
    browser.open(report, 900)
    row = browser.driver.find_element(By.CSS_SELECTOR, ".picture-row")
    browser.driver.execute_script("arguments[0].click()", row.find_element(By.CSS_SELECTOR, ".compare-open"))
    over = "getComputedStyle(document.querySelector('.pair .over')).clipPath"
    before = browser.ask(over)
    slider = row.find_element(By.CSS_SELECTOR, ".compare input[type=range]")
    slider.send_keys(Keys.HOME)
    assert browser.ask("document.querySelector('.pair').style.getPropertyValue('--split')") == "0%"
    assert browser.ask(over) != before
    left, right = row.find_elements(By.CSS_SELECTOR, ".compare select")
    assert left.get_attribute("value") != right.get_attribute("value")
    panels = row.find_element(By.CSS_SELECTOR, ".panels")
    for key, magnified in ((Keys.ARROW_RIGHT, True), (Keys.ESCAPE, False)):
        panels.send_keys(key)
        assert ("magnified" in str(panels.get_attribute("class"))) is magnified
    assert browser.errors() == []


def test_filter_and_picked_rows_reach_the_plots(browser: Browser, report: Path) -> None:
    browser.open(report, 1440)
    rows = "[...document.querySelectorAll('table.of-crf tbody tr')]"
    everything = browser.ask(f"{rows}.length")
    words = browser.driver.find_element(By.CSS_SELECTOR, ".filter[data-study=crf]")
    words.send_keys("seeds median")
    texts = browser.ask(f"{rows}.filter(r => !r.hidden).map(r => r.textContent)")
    assert 0 < len(texts) < everything
    assert all("unary seeds" in text and "guide median" in text for text in texts)
    shown = browser.ask("document.querySelector('.shown[data-study=crf]').value")
    assert shown == f"{len(texts)} of {everything} trials"
    chosen = (
        "document.getElementById('crf-history').data.map(t => t.selectedpoints ? t.selectedpoints.length : 0)"
        ".reduce((a, b) => a + b, 0)"
    )
    complete = f"{rows}.filter(r => !r.hidden && r.cells[1].textContent.trim() === 'complete').length"
    browser.wait(f"{chosen} === {complete}")
    words.clear()
    words.send_keys(" ")
    browser.wait(f"{chosen} === 0")
    browser.driver.execute_script("document.querySelector('#crf-7 .pick').click()")
    browser.wait(f"{chosen} === 1")
    assert browser.errors() == []


def test_print_shows_all_trials(browser: Browser, report: Path) -> None:
    browser.open(report, 1440, dark=True)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask(
        "[...document.querySelectorAll('.tall')].every(t => t.scrollHeight <= t.clientHeight + 1)"
    )
    widths = "[...document.querySelectorAll('.canvas')].map(c => c.querySelector('svg').clientWidth)"
    on_screen = browser.ask(widths)
    browser.driver.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.ask("document.body.scrollWidth") <= 718
    assert max(browser.ask(widths)) <= 718
    browser.driver.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert browser.ask(widths) == on_screen
    pages = browser.driver.execute_cdp_cmd("Page.printToPDF", {})
    assert len(pages["data"]) > 10_000


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: `make test` fetches it by npm")
@pytest.mark.parametrize(("width", "dark"), [(1440, True), (390, False)])
def test_axe_finds_no_serious_violation(browser: Browser, report: Path, width: int, dark: bool) -> None:
    browser.open(report, width, dark)
    assert browser.serious_violations() == []


def test_hostile_names_do_nothing(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(
        render(hostile_workspace(tmp_path / "w"), datetime(2026, 1, 1, tzinfo=UTC)), encoding="utf-8"
    )
    browser.open(path, 390)
    assert browser.ask("window.pwned === undefined")
    assert browser.ask("document.querySelectorAll('.canvas a').length") == 0
    labels = browser.ask("[...document.querySelectorAll('#crf-classes .ytick text')].map(t => t.textContent)")
    assert "<img src=x onerror=window.pwned=1>" in labels
    assert browser.ask("document.documentElement.scrollWidth") == 390
    for line in browser.ask("report.csv('crf')").splitlines()[1:]:
        assert not [cell for cell in line.split(",") if cell.lstrip('"').startswith(("=", "+", "@"))]
    assert browser.errors() == []
