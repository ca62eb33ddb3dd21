"""A browser of this machine, run without a window: it prints pages and draws figures."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sonarseg.errors import UserError

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
LONGEST_SECONDS = 300
# Milliseconds of the page's own clock: all plots are drawn by then.
_DRAWING = 60_000


def find_browser(purpose: str) -> str:
    """Find a browser of the Chromium family; `purpose` begins the sentence (UserError) if there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise UserError(
            f"{purpose} by a browser, and neither Chromium, Chrome nor Edge is on the PATH: install one "
            "(Debian, Ubuntu: apt install chromium), or open the report in any browser and save from there."
        )
    return found


def run_browser(
    browser: str, page: Path, folder: Path, options: Sequence[str]
) -> subprocess.CompletedProcess[bytes]:
    """Have a browser load a page, draw it, do what the options say, and end.

    Parameters
    ----------
    browser : str
        Its program.
    page : Path
        An HTML file.
    folder : Path
        For the browser's own files; removed by the caller.
    options : sequence of str
        Such as `--dump-dom`.

    Raises
    ------
    UserError
        Where it takes too long.
    """
    command = [
        browser,
        "--headless=new",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder}/profile",
        f"--virtual-time-budget={_DRAWING}",
        *options,
        page.resolve().as_uri(),
    ]
    if os.geteuid() == 0:
        # Chromium's sandbox does not work for root, who has no lesser rights to fall back to.
        command.insert(1, "--no-sandbox")
    try:
        return subprocess.run(command, capture_output=True, timeout=LONGEST_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{browser} did not draw {page} within {LONGEST_SECONDS} s: try again.") from error


def last_words(ended: subprocess.CompletedProcess[bytes]) -> str:
    """What a browser said last."""
    lines = ended.stderr.decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
