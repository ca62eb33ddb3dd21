"""The tests that are skipped where there is no CUDA device."""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

from gpu.check import Check
from sonarseg.processes.pool import PYTHON

ROOT = Path(__file__).resolve().parents[2]
# Tests that need a device have one of these in their names or parameters.
NAMES = "cuda or real_driver"


def files_with_cuda_tests(root: Path) -> list[Path]:
    """Test files that ask whether there is a CUDA device, relative to the project."""
    found = sorted((root / "tests").rglob("test_*.py"))
    return [
        path.relative_to(root)
        for path in found
        if "torch.cuda.is_available()" in path.read_text(encoding="utf-8")
    ]


def counted(output: str) -> dict[str, int]:
    """How many tests passed, failed, ... by pytest's last line."""
    found = re.findall(r"(\d+) (passed|failed|skipped|error)", output)
    return {what: int(count) for count, what in found}


def cuda_tests(check: Check) -> None:
    """Run them, and count those that passed and failed."""
    parallel = ["-n", "4"] if check.cuda and find_spec("xdist") else []
    command = [
        *PYTHON,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-k",
        NAMES,
        "-m",
        "not real_data",
        *parallel,
    ]
    files = map(str, files_with_cuda_tests(ROOT))
    if not check.cuda:
        command.append("--collect-only")
    ended = subprocess.run([*command, "-rfE", *files], capture_output=True, text=True, cwd=ROOT, check=False)
    print(ended.stdout[-20000:], ended.stderr[-4000:])
    for line in ended.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR", "E   ")):
            check.say(f"tests: {line[:250]}")
    if not check.cuda:
        check.say(f"tests: {ended.stdout.strip().splitlines()[-1]}")
        return
    results = counted(ended.stdout.strip().splitlines()[-1])
    check.row("tests that need CUDA, passed", results.get("passed", 0), None, "tests")
    check.row(
        "tests that need CUDA, failed", results.get("failed", 0) + results.get("error", 0), None, "tests"
    )


PARTS = (cuda_tests,)
