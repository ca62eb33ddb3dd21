"""The report on paper: a browser without window prints it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sonarseg.errors import UserError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
# Milliseconds of the page's own clock: all plots are drawn by then
DRAWING = 60_000
LONGEST = 300


def find_browser() -> str | None:
    """Find a browser that prints: Chromium, Chrome or Edge on the path."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def write_pdf(report: Path, target: Path) -> Path:
    """Print a report to PDF.

    Parameters
    ----------
    report : Path
        The HTML file.
    target : Path
        The PDF file, replaced whole.

    Raises
    ------
    UserError
        Where no browser is found, or it prints nothing.
    """
    browser = find_browser()
    if browser is None:
        raise UserError(
            "--pdf needs Chromium, Chrome or Edge on this machine, and none is on the path: install one, or "
            f"open {report} in any browser and print it there."
        )
    with tempfile.TemporaryDirectory() as folder:
        partial = Path(folder) / "report.pdf"
        command = [
            browser,
            "--headless=new",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer",
            f"--virtual-time-budget={DRAWING}",
            f"--print-to-pdf={partial}",
            report.resolve().as_uri(),
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # its sandbox refuses the administrator, as in a container
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"{browser} did not print {report} within {LONGEST} s.") from error
        if not partial.is_file():
            last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise UserError(f"{browser} did not print {report} (exit code {ended.returncode}: {last}).")
        try:
            shutil.copyfile(partial, target.with_name(target.name + ".partial"))
            target.with_name(target.name + ".partial").replace(target)
        except OSError as error:
            raise UserError(f"{target} cannot be written ({error.strerror}).") from error
    return target
