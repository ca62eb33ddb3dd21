"""The layout of the report in headless Chromium, on every width and on paper: nothing is cut."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest

from reports.page.build import render_side_by_side
from tests.support.fake_workspace import full_workspace
from tests.support.report_browser import AXE, Browser, pytestmark  # noqa: F401

# What of a plot's text lies outside its box by more than a pixel
CUT = """[...document.querySelectorAll('.canvas')].flatMap(canvas => {
  const box = canvas.getBoundingClientRect();
  return [...canvas.querySelectorAll('text')].filter(text => {
    const found = text.getBoundingClientRect();
    return found.width > 0 && (found.left < box.left - 1 || found.right > box.right + 1 ||
      found.top < box.top - 1 || found.bottom > box.bottom + 1);
  }).map(text => [canvas.id, text.textContent]);
})
"""
# Boxes that must be scrolled sideways, the tables of trials left out
SCROLLED = """[...document.querySelectorAll('.scroll:not(.tall)')]
  .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.getAttribute('aria-label'))
"""


@pytest.fixture(scope="module")
def sides(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two workspaces of different surveys side by side."""
    root = tmp_path_factory.mktemp("sides")
    other = full_workspace(root / "a-bay-with-a-long-name")
    for kind in ("crf", "loss"):
        study = optuna.load_study(study_name=kind, storage=f"sqlite:///{other / 'study.db'}")
        study.set_user_attr("survey", study.user_attrs["survey"] | {"name": "elsewhere", "fingerprint": "1f"})
    path = root / "sides.html"
    path.write_text(render_side_by_side([workspace, other], datetime(2026, 1, 1, tzinfo=UTC)), "utf-8")
    return path


@pytest.mark.parametrize("width", [1440, 900, 390])
def test_no_text_of_a_plot_is_cut(browser: Browser, report: Path, width: int) -> None:
    browser.open(report, width)
    assert browser.ask(CUT) == []
    drawn = "[...document.querySelectorAll('.canvas .trace')].map(trace => getComputedStyle(trace).display)"
    assert set(browser.ask(drawn)) == {"inline"}


@pytest.mark.parametrize("width", [1440, 900])
def test_no_table_but_that_of_trials_is_wider_than_the_page(
    browser: Browser, report: Path, width: int
) -> None:
    browser.open(report, width)
    assert browser.ask(SCROLLED) == []


@pytest.mark.parametrize("page", ["report", "sides"])
def test_on_a_phone_no_table_is_cut_and_cells_bear_the_heading_of_their_column(
    browser: Browser, page: str, request: pytest.FixtureRequest
) -> None:
    browser.open(request.getfixturevalue(page), 390)
    assert browser.ask(SCROLLED) == []
    cells = "[...document.querySelectorAll('#table-one tbody tr:first-child td')]"
    labels = browser.ask(f"{cells}.map(c => getComputedStyle(c, '::before').content.slice(1, -1))")
    heads = browser.ask("[...document.querySelectorAll('#table-one thead th')].map(h => h.textContent)")
    assert labels == heads[1:]


def test_on_a_phone_the_axes_of_all_parameters_lie_one_below_the_other(
    browser: Browser, report: Path
) -> None:
    where = "document.getElementById('crf-parallel')"
    for width, upright in ((390, True), (900, False)):
        browser.open(report, width)
        places = browser.ask(f"{where}.data[0].{'y' if upright else 'x'}.slice(0, 11)")
        assert places == list(range(11))
        assert browser.ask(f"{where}.layout.height > 400") is upright
        assert browser.ask(f"{where}.clientHeight === {where}.layout.height")
        assert browser.ask(f"{where}.querySelector('svg').clientWidth <= {where}.parentElement.clientWidth")


def test_on_a_phone_what_is_scrolled_is_scrolled_by_keys(browser: Browser, report: Path) -> None:
    browser.open(report, 390)
    boxes = "[...document.querySelectorAll('.scroll')]"
    assert browser.ask(f"{boxes}.every(box => box.tabIndex === 0 && box.getAttribute('aria-label'))")
    heads = f"{boxes}.map(box => box.querySelector('.sortable tbody th')).filter(Boolean)"
    assert max(browser.ask(f"{heads}.map(head => head.clientWidth)")) <= 200
    assert browser.ask("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("page", ["report", "sides"])
def test_no_plot_is_cut_on_paper(browser: Browser, page: str, request: pytest.FixtureRequest) -> None:
    browser.open(request.getfixturevalue(page), 1440)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.driver.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    # A4 less its margins, at 96 dots an inch
    browser.wait(
        "[...document.querySelectorAll('.canvas svg')].every(s => s.getBoundingClientRect().right <= 718)"
    )
    assert browser.ask(CUT) == []
    plots = "[...document.querySelectorAll('.plot, .slice')]"
    assert browser.ask(f"{plots}.length") > 0
    assert set(browser.ask(f"{plots}.map(plot => getComputedStyle(plot).breakInside)")) == {"avoid"}
    assert max(browser.ask(f"{plots}.map(plot => plot.getBoundingClientRect().height)")) < 1017
    browser.driver.execute_script("window.dispatchEvent(new Event('afterprint'))")


@pytest.mark.parametrize("width", [1440, 900, 390])
def test_studies_side_by_side_fit_the_page(browser: Browser, sides: Path, width: int) -> None:
    browser.open(sides, width)
    assert browser.ask("document.documentElement.scrollWidth") == width
    assert browser.ask(CUT) == []
    if width == 1440:
        assert browser.ask(SCROLLED) == []
    assert browser.errors() == []


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: `make test` fetches it by npm")
@pytest.mark.parametrize(
    ("page", "width", "dark"), [("report", 900, True), ("sides", 1440, False), ("sides", 390, True)]
)
def test_axe_finds_no_serious_violation(
    browser: Browser, page: str, width: int, dark: bool, request: pytest.FixtureRequest
) -> None:
    browser.open(request.getfixturevalue(page), width, dark)
    assert browser.serious_violations() == []


def test_picking_fast_leaves_one_line(browser: Browser, report: Path) -> None:
    browser.open(report, 1440)
    picked = "document.getElementById('crf-parallel').data.filter(trace => trace.name === 'picked').length"
    browser.driver.execute_script("for (let n = 5; n < 12; n++) report.choose('crf', new Set([n]));")
    browser.wait(f"{picked} === 1")
    browser.driver.execute_script("document.querySelector('#crf-7 .pick').click()")
    words = browser.driver.find_element("css selector", ".filter[data-study=crf]")
    words.send_keys("no such trial")
    browser.wait(f"{picked} === 0")
    assert browser.ask("document.querySelectorAll('.of-crf .pick[aria-pressed=true]').length") == 0
    assert browser.errors() == []


def test_a_picked_loss_trial_stands_out_in_the_curves(browser: Browser, report: Path) -> None:
    browser.open(report, 1440)
    lines = "document.getElementById('loss-comparison-miou').data"
    number = browser.ask(f"{lines}.find(t => t.name === 'Lovász-Softmax').meta.trials[0]")
    browser.driver.execute_script(f"document.querySelector('#loss-{number} .pick').click()")
    browser.wait(f"{lines}.every(t => t.opacity === (t.name === 'Lovász-Softmax' ? 1 : 0.12))")
    browser.driver.execute_script(f"document.querySelector('#loss-{number} .pick').click()")
    browser.wait(f"{lines}.every(t => t.opacity === 1)")


def test_the_lens_follows_a_finger(browser: Browser, report: Path) -> None:
    browser.open(report, 390)
    touch = {"enabled": True, "maxTouchPoints": 1}
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", touch)
    browser.driver.execute_script(
        "document.querySelector('.frame').scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    box = browser.ask("document.querySelector('.frame').getBoundingClientRect().toJSON()")
    row = "document.querySelector('.panels')"

    def touched(kind: str, x: float, y: float) -> None:
        points = [] if kind == "touchEnd" else [{"x": box["x"] + x, "y": box["y"] + y}]
        browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touched("touchStart", 20, 20)
    browser.wait(f"{row}.classList.contains('magnified')")
    before = browser.ask(f"{row}.style.getPropertyValue('--x')")
    for x in (30, 50, 80):
        touched("touchMove", x, 20)
    touched("touchEnd", 80, 20)
    browser.wait(f"{row}.style.getPropertyValue('--x') !== '{before}'")
    assert browser.ask(f"{row}.classList.contains('magnified')")
    touched("touchStart", 80, 20)
    touched("touchEnd", 80, 20)
    browser.wait(f"!{row}.classList.contains('magnified')")
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    assert browser.errors() == []
