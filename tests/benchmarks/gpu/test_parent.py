"""A step that fails or hangs costs itself alone."""

import io
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import psutil
import pytest
from gpu.check import Check
from gpu.parent import Parent, environment
from gpu.step import run_step
from gpu.steps import Step
from gpu.stored_rows import read_lines

# Writes a row, starts a child, and does what its name says.
PROGRAM = """
import subprocess, sys, time
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
with open(options["--rows"], "w") as file:
    file.write('{"case": "kept"}\\n')
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("= child", child.pid, flush=True)
if sys.argv[1] == "fails":
    raise RuntimeError("no such kernel")
if sys.argv[1] == "hangs":
    time.sleep(60)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Parent:
    program = tmp_path / "step.py"
    program.write_text(PROGRAM)
    end = time.monotonic() + 60
    return Parent("cpu", "abc", tmp_path, io.StringIO(), end, (sys.executable, str(program)))


def test_a_step_that_hangs_is_ended_with_all_that_it_has_started(parent: Parent) -> None:
    hangs = Step("hangs", seconds=2.5)
    parent.step(hangs)
    assert parent.ended["hangs"].startswith("ended at its time limit")
    assert [row["case"] for row in read_lines(parent.rows(hangs))] == ["kept"]
    # The child would sleep for a minute.
    child = int(parent.log.getvalue().split()[-1])  # type: ignore[attr-defined]
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.02)


def test_a_step_that_fails_says_so_in_the_log(parent: Parent) -> None:
    started = time.monotonic()
    parent.step(Step("fails", seconds=50))
    # Its child holds the pipe for a minute.
    assert time.monotonic() - started < 40
    assert parent.ended["fails"].startswith("failed with 1")
    assert "[fails] RuntimeError: no such kernel" in parent.log.getvalue()  # type: ignore[attr-defined]


def test_rows_can_be_written_after_each_step(parent: Parent) -> None:
    fails = Step("fails", seconds=50)
    seen: list[object] = []
    parent.after_step = lambda: seen.append((dict(parent.ended).keys(), read_lines(parent.rows(fails))))
    parent.step(fails)
    assert seen == [({"fails": ""}.keys(), [{"case": "kept"}])]


def test_a_step_is_not_begun_if_too_little_time_is_left(parent: Parent) -> None:
    parent.step(Step("ends", seconds=30), kept=55)
    assert parent.ended["ends"] == "not begun: no time left"


def test_a_project_that_is_not_installed_has_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("gpu.parent.version", missing)
    program = "import gpu, sonarseg; from importlib.metadata import version; print(version('sonarseg'))"
    found = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert found.stdout == "0\n", found.stderr


def test_a_part_that_fails_does_not_end_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(check: Check) -> None:
        raise RuntimeError("no such kernel")

    def measures(check: Check) -> None:
        check.row("steps", 2, 1, "steps/s", larger_is_better=True)

    module = type(sys)("gpu.two_parts")
    module.PARTS = (fails, measures)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gpu.two_parts", module)
    check = Check("cpu", "abc", tmp_path, tmp_path / "rows.jsonl")
    assert run_step("two_parts", check) == ["fails"]
    assert read_lines(check.rows) == [
        {"case": "steps; cpu, abc", "ours": 2, "peer": 1, "unit": "steps/s", "ratio": 2.0}
    ]
