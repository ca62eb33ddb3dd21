"""One finished workspace and its report, made once for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.page.build import write_report
from tests.support.fake_workspace import full_workspace
from tests.support.report_browser import Browser


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_workspace(tmp_path_factory.mktemp("study") / "bay")


@pytest.fixture(scope="session")
def report(workspace: Path) -> Path:
    return write_report(workspace)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.driver.quit()
