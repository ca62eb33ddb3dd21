"""The report on paper: a browser without window prints it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from reports.export.browser import find_browser, last_words, run_browser
from sonarseg.errors import UserError
from sonarseg.files.whole import whole_file


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
    browser = find_browser("The PDF is printed")
    with tempfile.TemporaryDirectory(prefix="sonarseg-") as folder:
        partial = Path(folder) / "report.pdf"
        options = ["--no-pdf-header-footer", f"--print-to-pdf={partial}"]
        ended = run_browser(browser, report, Path(folder), options)
        if not partial.is_file():
            said = f"exit code {ended.returncode}: {last_words(ended)}"
            raise UserError(f"{browser} did not print {report} ({said}).")
        try:
            with whole_file(target) as copy:
                shutil.copyfile(partial, copy)
        except OSError as error:
            raise UserError(f"{target} cannot be written ({error.strerror}).") from error
    return target
