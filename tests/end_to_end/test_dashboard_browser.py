"""Optuna Dashboard on a workspace's database, seen in headless Chromium."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from objectives.records.read import read_studies
from reports.dashboard.figures import dashboard_figures
from reports.dashboard.pictures import PicturePanel, trial_picture
from reports.dashboard.store import DashboardStore
from studies.storage.open import open_storage
from tests.support.command_line import finish, start, wait_for
from tests.support.fake_studies import CRF_SPACE, PUBLISHED, add
from tests.support.fake_workspace import full_workspace

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="needs chromium and chromium-driver",
    ),
]
ATTACK = "<img src=x onerror=window.pwned=1> [link](javascript:window.pwned=1) =cmd"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,2200",
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both studies, with a report, a hostile trial, and the picture of one trial."""
    root = full_workspace(tmp_path_factory.mktemp("dashboard") / "bay")
    (root / "study.toml").write_text('name = "bay"\nsurvey = "survey"\n')
    (root / "report.html").write_text("<title>the report</title>")
    storage = open_storage(root / "study.db")
    crf = optuna.load_study(study_name="crf", storage=storage)
    add(crf, CRF_SPACE, PUBLISHED["IRN"], None, state=TrialState.FAIL, reason=ATTACK)
    panel = PicturePanel("tile", np.zeros((20, 30), np.uint8), labels=False)
    picture = trial_picture([[panel]], ["mud"])
    DashboardStore(crf).write_picture(crf.trials[0]._trial_id, "tiles.webp", picture, root / "artifacts")
    return root


@pytest.fixture(scope="module")
def address(workspace: Path) -> Iterator[str]:
    """The workspace, served by the real command and filled in."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start("dashboard", workspace, "--port", port, cwd=workspace)
    try:
        _wait_for(port, process)
        found = f"http://127.0.0.1:{port}/dashboard/"
        wait_for(lambda: _filled(f"http://127.0.0.1:{port}/api/studies/"), 60)
        yield found
    finally:
        process.terminate()
        finish(process)


def _filled(api: str) -> bool:
    """Whether the loss study, which is filled in last, has its last figure."""
    study = json.load(urllib.request.urlopen(f"{api}2", timeout=10))
    return "loss-confusion" in {graph["id"] for graph in study["plotly_graph_objects"]}


def _wait_for(port: int, process: "subprocess.Popen[str]") -> None:
    for _ in range(300):
        assert process.poll() is None, process.communicate()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the dashboard does not listen")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def _text(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def test_both_studies_are_listed(browser: webdriver.Chrome, address: str) -> None:
    browser.get(address)
    WebDriverWait(browser, 60).until(lambda page: "crf" in _text(page) and "loss" in _text(page))


def test_the_loss_study_shows_intermediate_curves(browser: webdriver.Chrome, address: str) -> None:
    browser.get(f"{address}studies/2")
    curves = WebDriverWait(browser, 60).until(
        lambda page: page.find_elements(By.CSS_SELECTOR, "#graph-intermediate-values .scatterlayer .trace")
    )
    assert len(curves) > 3


@pytest.mark.parametrize("kind", ["crf", "loss"])
def test_every_stored_figure_is_drawn(
    browser: webdriver.Chrome, address: str, workspace: Path, kind: str
) -> None:
    expected = dashboard_figures(read_studies(workspace)[kind], workspace)
    assert f"{kind}-confusion" in expected
    browser.get(f"{address}studies/{1 if kind == 'crf' else 2}")
    WebDriverWait(browser, 60).until(
        lambda page: all(_svg(page, key) for key in expected), "a figure was not drawn"
    )
    for key, figure in expected.items():
        drawn = browser.execute_script(_DRAWN, f"user-defined-plot:{key}")
        assert drawn["traces"] == len(figure.data), key
        assert figure.layout.title.text in drawn["text"], key
        assert drawn["right"] <= drawn["card"] + 1, f"{key} is cut off"
    assert not _errors(browser)


# What plotly has drawn in an element: traces by the kinds that the figures use, all text, right edges.
_DRAWN = """
const plot = document.getElementById(arguments[0]);
const kinds = '.scatterlayer > .trace, .heatmaplayer > .hm, .barlayer > .trace, .table';
return {
  traces: plot.querySelectorAll(kinds).length,
  text: plot.querySelector('.main-svg').parentElement.textContent,
  right: plot.querySelector('.main-svg').getBoundingClientRect().right,
  card: plot.parentElement.getBoundingClientRect().right,
};
"""


def _svg(browser: webdriver.Chrome, key: str) -> bool:
    found = browser.find_elements(By.ID, f"user-defined-plot:{key}")
    return bool(found) and bool(found[0].find_elements(By.CSS_SELECTOR, ".main-svg"))


def _errors(browser: webdriver.Chrome) -> list[str]:
    return [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_the_study_note_tells_what_is_best_and_leads_to_the_report(
    browser: webdriver.Chrome, address: str, workspace: Path
) -> None:
    browser.get(f"{address}studies/1/note")
    WebDriverWait(browser, 60).until(lambda page: "Dense CRF of simulated-bay" in _text(page))
    best = read_studies(workspace)["crf"].best()
    assert best is not None
    assert best.value is not None
    assert f"{best.value:.3f}" in _text(browser)
    browser.find_element(By.LINK_TEXT, "report").click()
    WebDriverWait(browser, 60).until(lambda page: len(page.window_handles) > 1 or page.title == "the report")
    browser.switch_to.window(browser.window_handles[-1])
    WebDriverWait(browser, 60).until(lambda page: page.title == "the report")


def test_a_trial_shows_its_note_and_its_picture(browser: webdriver.Chrome, address: str) -> None:
    browser.get(f"{address}studies/1/trials?numbers=0")
    WebDriverWait(browser, 60).until(lambda page: "An untuned setting" in _text(page))
    assert "grey levels" in _text(browser)
    picture = WebDriverWait(browser, 60).until(
        lambda page: page.find_element(By.CSS_SELECTOR, "img[src*='/artifacts/']")
    )
    WebDriverWait(browser, 60).until(
        lambda page: page.execute_script("return arguments[0].naturalWidth", picture) > 100
    )


def test_a_hostile_reason_is_read_not_run(browser: webdriver.Chrome, address: str, workspace: Path) -> None:
    number = read_studies(workspace)["crf"].trials[-1].number
    browser.get(f"{address}studies/1/trials?numbers={number}")
    WebDriverWait(browser, 60).until(lambda page: f"Failed: {ATTACK}" in _text(page))
    assert browser.execute_script("return window.pwned") is None
    assert not browser.find_elements(By.CSS_SELECTOR, "img[src='x']")
