"""Optuna Dashboard on a workspace's database, seen in headless Chromium."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import optuna
import pytest
from command_line import finish, start
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="needs chromium and chromium-driver",
    ),
]
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
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A workspace with both studies, one trial each, served by the real command."""
    root = tmp_path_factory.mktemp("dashboard")
    (root / "study.toml").write_text('name = "bay"\nsurvey = "survey"\n')
    storage = f"sqlite:///{root / 'study.db'}"
    for kind in ("crf", "loss"):
        study = optuna.create_study(study_name=kind, storage=storage, direction="maximize")
        trial = study.ask({"gamma": optuna.distributions.FloatDistribution(0, 5)})
        for epoch in (1, 2, 3):
            trial.report(0.25 * epoch, epoch)
        study.tell(trial, 0.75)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start("dashboard", root, "--port", port, cwd=root)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}/dashboard/"
    finally:
        process.terminate()
        finish(process)


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
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def _text(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def test_both_studies_are_listed(browser: webdriver.Chrome, address: str) -> None:
    browser.get(address)
    WebDriverWait(browser, 60).until(lambda page: "crf" in _text(page) and "loss" in _text(page))


@pytest.mark.parametrize("study", [1, 2])
def test_a_study_shows_its_trial_and_the_intermediate_curve(
    browser: webdriver.Chrome, address: str, study: int
) -> None:
    browser.get(f"{address}studies/{study}")
    WebDriverWait(browser, 60).until(lambda page: "0.75" in _text(page))
    curves = WebDriverWait(browser, 60).until(
        lambda page: page.find_elements(By.CSS_SELECTOR, "#graph-intermediate-values .scatterlayer .trace")
    )
    assert len(curves) == 1
