"""One finished workspace and its report, made once for all tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_workspace import full_workspace

from reports.html import write_report


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_workspace(tmp_path_factory.mktemp("study") / "bay")


@pytest.fixture(scope="session")
def report(workspace: Path) -> Path:
    return write_report(workspace)
