"""A headless Chromium with the few questions that the tests of pages ask."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(DRIVER is None, reason="chromedriver is not installed"),
]
# The checker of accessibility; `make test` fetches it by npm
AXE = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """A browser with the few questions that these tests ask."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))

    def open(self, path: Path, width: int, dark: bool = False) -> None:
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.get(path.as_uri())
        end = time.monotonic() + 60
        while not self.ask("document.documentElement.dataset.drawn"):
            assert time.monotonic() < end, f"not drawn: {self.errors()}"
            time.sleep(0.05)

    def ask(self, expression: str) -> Any:
        return self.driver.execute_script(f"return {expression}")

    def wait(self, condition: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not self.ask(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.05)

    def serious_violations(self) -> list[Any]:
        """What axe-core finds on the page that is open; that it has looked is asserted."""
        self.driver.execute_script(AXE.read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']}).then(r => done([r.testEngine.name, "
            "r.passes.length, r.violations.map(v => [v.impact, v.id, v.nodes.slice(0, 3).map(n => "
            "n.html.slice(0, 160))])]))"
        )
        assert found[0] == "axe-core"
        assert found[1] > 20
        return [violation for violation in found[2] if violation[0] in ("serious", "critical")]

    def errors(self) -> list[dict[str, Any]]:
        return list(self.driver.get_log("browser"))
