"""The labelling page in headless Chromium: tiles labelled by keyboard, a kill in the middle, two tabs.

`SONARSEG_LABEL_TILES=600` labels as many tiles; the default keeps the suite short.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from sonarseg.simulation import simulate
from sonarseg.survey.checks.survey import check_survey
from sonarseg.survey.pictures import read_mask_file
from studies.labelling.label_table import LabelTable
from tests.support.command_line import start
from tests.support.report_browser import AXE, Browser, pytestmark  # noqa: F401

MASKS = 5 if "SONARSEG_LABEL_TILES" in os.environ else 2
TILES = int(os.environ.get("SONARSEG_LABEL_TILES", "30"))
_HANGING_NEWS = """
const original = window.fetch;
window.fetch = (path, options) => String(path).startsWith('/api/changes') ? new Promise(() => {})
  : original(path, options);
"""


class Page:
    """A server of its own and a browser that has opened its page."""

    def __init__(self, survey: Path, profile: Path) -> None:
        self.survey = survey
        self.server: subprocess.Popen[str] = start("label", survey, cwd=survey.parent)
        assert self.server.stdout is not None
        said = self.server.stdout.readline()
        self.address = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", said)[0]  # type: ignore[index]
        self.browser = Browser(profile)
        self.browser.driver.get(self.address)
        self.wait("document.documentElement.dataset.drawn")

    def wait(self, condition: str) -> None:
        self.browser.wait(condition)

    def press(self, keys: str) -> None:
        self.browser.driver.switch_to.active_element.send_keys(keys)

    def wait_until_saved(self) -> None:
        self.wait("document.getElementById('status').textContent === 'saved'")

    def text(self, element: str) -> str:
        return str(self.browser.ask(f"document.getElementById('{element}').textContent"))

    def kill(self) -> None:
        self.server.kill()
        self.server.communicate()
        self.browser.driver.quit()


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated survey with its labels."""
    root = tmp_path_factory.mktemp("truth") / "bay"
    simulate(root, tiles=TILES, size=48, seed=3)
    return root


@pytest.fixture
def survey(truth: Path, tmp_path: Path) -> Path:
    """The same survey, not labelled."""
    root = tmp_path / "bay"
    shutil.copytree(truth, root)
    (root / "labels.csv").unlink()
    return root


@pytest.fixture
def page(survey: Path, tmp_path: Path) -> Iterator[Page]:
    opened = Page(survey, tmp_path / "profile")
    yield opened
    opened.kill()


@pytest.fixture(scope="module")
def shared_page(truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page and its survey for the tests that end no program: both take seconds to start."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(truth, folder / "bay")
    (folder / "bay" / "labels.csv").unlink()
    opened = Page(folder / "bay", folder / "profile")
    yield opened
    opened.kill()


@pytest.fixture
def loaded(shared_page: Page) -> Page:
    """The shared page, loaded again, its survey without labels."""
    (shared_page.survey / "labels.csv").unlink(missing_ok=True)
    shared_page.browser.driver.get(shared_page.address.partition("?")[0])
    shared_page.wait("document.documentElement.dataset.drawn")
    return shared_page


def _keys(shown: str) -> str:
    return "".join(str(index + 1) for index, value in enumerate(shown) if value == "1")


def test_tiles_are_labelled_by_keyboard_and_a_kill_in_the_middle_loses_nothing(
    truth: Path, survey: Path, page: Page, tmp_path: Path
) -> None:
    shown = dict(LabelTable(truth).shown())
    tiles = list(shown)
    half = len(tiles) // 2
    page.press("".join(_keys(shown[tile]) + Keys.ENTER for tile in tiles[:half]))
    page.wait_until_saved()
    page.kill()
    assert dict(LabelTable(survey).shown()) == {t: shown[t] if t in tiles[:half] else "" for t in tiles}

    again = Page(survey, tmp_path / "another profile")
    try:
        assert again.text("progress").startswith(f"{half} of {len(tiles)} labelled")
        assert tiles[half] in again.text("tile-name"), "it goes on where the labels end"
        again.press("".join(_keys(shown[tile]) + Keys.ENTER for tile in tiles[half:]))
        again.wait_until_saved()
        assert dict(LabelTable(survey).shown()) == shown
        again.press("2u")
        again.wait_until_saved()
        assert dict(LabelTable(survey).shown()) == shown
        assert check_survey(survey).problems == []
        assert not again.browser.errors()
    finally:
        again.kill()


def test_two_tabs_see_each_other_and_never_overwrite(loaded: Page) -> None:
    page, survey = loaded, loaded.survey
    driver = page.browser.driver
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    driver.get(page.address.partition("?")[0])
    page.wait("document.documentElement.dataset.drawn")
    page.press("1")
    page.wait_until_saved()
    second = driver.current_window_handle
    driver.switch_to.window(first)
    page.wait("document.querySelector('#classes button').getAttribute('aria-pressed') === 'true'")

    driver.execute_script(_HANGING_NEWS)
    driver.switch_to.window(second)
    page.press("2")
    page.wait_until_saved()
    driver.switch_to.window(first)
    # News that was on its way before may still arrive: what was pressed is refused or seen, never lost.
    page.press("1")
    page.wait("document.getElementById('status').textContent !== 'saving'")
    shown = next(iter(LabelTable(survey).shown().values()))
    pressed = page.browser.ask(
        "[...document.querySelectorAll('#classes button')].map(b => +(b.ariaPressed === 'true')).join('')"
    )
    assert pressed == shown
    assert shown[1] == "1"


def test_alike_tiles_are_labelled_at_once_in_the_grid(loaded: Page) -> None:
    page, survey = loaded, loaded.survey
    page.press("g")
    page.wait("document.querySelectorAll('.cell').length > 3")
    page.press(" " + Keys.ARROW_RIGHT + Keys.ARROW_RIGHT + " " + "3")
    page.wait_until_saved()
    assert list(LabelTable(survey).shown().values())[:4] == ["0010", "", "0010", ""]
    assert page.browser.ask("document.querySelectorAll('.cell[aria-selected=true] .dots i').length") == 2


def _stroke(page: Page, *points: tuple[float, float]) -> None:
    """Draw on the canvas; points as shares of its width and height."""
    canvas = page.browser.driver.find_element(By.ID, "canvas")
    width, height = canvas.rect["width"], canvas.rect["height"]
    actions = ActionChains(page.browser.driver, duration=10)
    for number, (x, y) in enumerate(points):
        actions.move_to_element_with_offset(canvas, round((x - 0.5) * width), round((y - 0.5) * height))
        if number == 0:
            actions.click_and_hold()
    actions.release().perform()


def test_masks_are_drawn_and_a_kill_in_the_middle_loses_nothing(
    survey: Path, page: Page, tmp_path: Path
) -> None:
    shutil.rmtree(survey / "masks")
    tiles = list(LabelTable(survey).images)
    page.press("m")
    for tile in tiles[:MASKS]:
        page.wait(f"document.getElementById('mask-name').textContent.startsWith('{tile}')")
        page.wait("document.getElementById('stage').dataset.ready === 'yes'")
        page.press("1")
        _stroke(page, (0.1, 0.2), (0.2, 0.8))
        page.press("3")
        _stroke(page, (0.9, 0.2), (0.8, 0.8))
        page.wait_until_saved()
        page.press(Keys.ENTER)
    page.kill()
    masks = {tile: read_mask_file(survey / "masks" / f"{tile}.png") for tile in tiles[:MASKS]}
    assert all(set(np.unique(mask)) == {0, 2} for mask in masks.values()), "the tiles are filled"
    assert {path.stem for path in (survey / "masks").iterdir()} == set(masks)

    again = Page(survey, tmp_path / "another profile")
    try:
        again.press("m")
        again.wait("document.getElementById('stage').dataset.ready === 'yes'")
        again.press("p4")
        for x, y in ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75)):
            _stroke(again, (x, y))
        again.press(Keys.ENTER)
        again.wait_until_saved()
        drawn = read_mask_file(survey / "masks" / f"{tiles[0]}.png")
        assert 0.1 < (drawn == 3).mean() < 0.15, "a triangle of an eighth of the tile"
        np.testing.assert_array_equal(drawn[drawn != 3], masks[tiles[0]][drawn != 3])
        again.press("n" + "b")
        _stroke(again, (0.3, 0.3), (0.7, 0.3))
        again.wait_until_saved()
        assert (read_mask_file(survey / "masks" / f"{tiles[0]}.png") == 255).any()
        again.press("uu")
        again.wait_until_saved()
        restored = read_mask_file(survey / "masks" / f"{tiles[0]}.png")
        np.testing.assert_array_equal(restored, masks[tiles[0]])
        assert not again.browser.errors()
    finally:
        again.kill()


def test_names_with_markup_do_nothing(survey: Path, tmp_path: Path) -> None:
    attack = "<img src=x onerror=window.pwned=1>"
    first = min((survey / "images").iterdir())
    first.rename(first.with_name(f"{attack}.png"))
    (survey / "classes.txt").write_text(f"{attack}\nrock\n")
    page = Page(survey, tmp_path / "profile")
    try:
        page.press("1g")
        page.wait("document.querySelectorAll('.cell').length > 3")
        assert attack in page.text("cells")
        assert attack in page.text("classes")
        assert page.browser.ask("window.pwned") is None
        assert not page.browser.driver.find_elements(By.CSS_SELECTOR, "img[src='x']")
    finally:
        page.kill()


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed")
def test_axe_finds_nothing_serious(loaded: Page) -> None:
    page = loaded
    page.press("1")
    page.wait_until_saved()
    for view in ("t", "g", "m", "dialog"):
        if view == "dialog":
            page.browser.ask("document.getElementById('edit-classes').click()")
        else:
            page.press(view)
        for scheme in ("dark", "light"):
            features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            page.browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
            assert page.browser.serious_violations() == [], (view, scheme)
