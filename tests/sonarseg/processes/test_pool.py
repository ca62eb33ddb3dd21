"""Child processes import nothing from the current folder, and Ctrl-C does not hit them while they begin."""

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from sonarseg.processes.pool import PYTHON, interrupts_held, worker_pool


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


def test_ctrl_c_waits_also_if_another_thread_takes_it() -> None:
    go, held = threading.Event(), False

    def send() -> None:
        go.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        with interrupts_held():
            go.set()
            thread.join()
            held = True
        pytest.fail("Ctrl-C was lost")
    assert held
