"""Child processes import nothing from the current folder."""

import os
import subprocess
from pathlib import Path

import pytest

from sonarseg.processes import PYTHON, worker_pool


@pytest.fixture
def decoys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder of packages and modules that end whoever imports them."""
    for name in ("sonarseg", "joblib", "studies"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a decoy')\n")
    for name in ("torch", "numpy", "signal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a decoy')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_does_not_look_into_the_current_folder(decoys: Path) -> None:
    program = "import signal, numpy, sonarseg; print(sonarseg.__version__)"
    done = subprocess.run([*PYTHON, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_neither_do_workers_of_a_pool(decoys: Path) -> None:
    before = dict(os.environ)
    with worker_pool(1) as pool:
        assert Path(pool.submit(os.getcwd).result()) == decoys
    assert dict(os.environ) == before
