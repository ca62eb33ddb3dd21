"""Take the screenshots of docs/pictures: `python docs/make_screenshots.py WORKSPACE`.

The workspace's studies must be finished; `make screenshots` runs the quickstart's simulated survey first.
Needs chromium and chromium-driver (Debian, Ubuntu: apt install chromium chromium-driver).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PICTURES = Path(__file__).with_name("pictures")
SIZE = (1280, 860)
MAX_BYTES = 200_000
SECONDS = 90


@contextmanager
def chromium(folder: str) -> Iterator[webdriver.Chrome]:
    """A browser without a window."""
    found, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (found and driver):
        sys.exit("chromium and chromium-driver are needed: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = found
    flags = ["--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--hide-scrollbars", f"--user-data-dir={folder}", f"--window-size={SIZE[0]},{SIZE[1] + 140}"]
    # Chromium's sandbox does not work for root.
    for flag in flags + (["--no-sandbox"] if os.geteuid() == 0 else []):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


@contextmanager
def dashboard(workspace: Path) -> Iterator[str]:
    """The dashboard of a workspace, once it is filled in."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("sonarseg")
    process = subprocess.Popen([program, "dashboard", str(workspace), "--port", str(port)])
    try:
        wait_until_filled(process, f"http://127.0.0.1:{port}/api/studies/2")
        yield f"http://127.0.0.1:{port}/dashboard/studies"
    finally:
        process.terminate()
        process.wait()


def wait_until_filled(process: subprocess.Popen[bytes], address: str) -> None:
    """Wait until every complete trial of a study has its picture: they come last."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit("the dashboard ended")
        try:
            study = json.load(urllib.request.urlopen(address, timeout=10))
        except (urllib.error.URLError, ConnectionError):
            study = {"trials": []}
        done = [bool(trial["artifacts"]) for trial in study["trials"] if trial["state"] == "Complete"]
        if done and all(done):
            return
        time.sleep(0.5)
    sys.exit(f"{address} was not filled in within {SECONDS} seconds")


def shoot(browser: webdriver.Chrome, name: str) -> None:
    """Save what the window shows, as small as it has to be."""
    time.sleep(1.5)  # fonts and the last transitions
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    for quality in (85, 70, 55):
        buffer = io.BytesIO()
        picture.save(buffer, "webp", quality=quality, method=6)
        if buffer.tell() < MAX_BYTES:
            break
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / f"{name}.webp").write_bytes(buffer.getvalue())
    print(f"{PICTURES / name}.webp: {buffer.tell() // 1000} kB")


def wait_for(browser: webdriver.Chrome, selector: str) -> None:
    """Wait until a page has what a CSS selector names."""
    WebDriverWait(browser, SECONDS).until(lambda page: page.find_elements(By.CSS_SELECTOR, selector))


def scroll_to(browser: webdriver.Chrome, selector: str) -> None:
    """Bring what a CSS selector names into the window."""
    found = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)


def main() -> None:
    """Take all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    workspace: Path = parser.parse_args().workspace
    with tempfile.TemporaryDirectory() as folder, chromium(folder) as browser:
        browser.get((workspace / "report.html").resolve().as_uri())
        wait_for(browser, "section[id] .main-svg")
        shoot(browser, "report")
        for section in ("crf", "losses", "pictures"):
            found = browser.find_elements(By.ID, section)
            if found:
                browser.execute_script("arguments[0].scrollIntoView()", found[0])
                shoot(browser, f"report-{section}")
        with dashboard(workspace) as address:
            browser.get(f"{address}/2")
            wait_for(browser, plots := "[id^='user-defined-plot'] .main-svg")
            scroll_to(browser, plots)
            shoot(browser, "dashboard-study")
            browser.get(f"{address}/2/note")
            wait_for(browser, "table")
            shoot(browser, "dashboard-note")
            browser.get(f"{address}/1/trials?numbers=0")
            wait_for(browser, picture := "img[src*='/artifacts/']")
            scroll_to(browser, picture)
            shoot(browser, "dashboard-trial")


if __name__ == "__main__":
    main()
