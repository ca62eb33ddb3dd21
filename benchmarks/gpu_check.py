"""What sonarseg does on a CUDA device: `make bench-cuda`, or `python benchmarks/gpu_check.py`.

Writes benchmarks/results/cuda.json: each row names card and commit, and takes the place of the same case on
the same card. `gpu_check.log` in the same folder holds all that the steps print. `--only` names steps, with
commas between; `whole_run` is done only then. `--cpu` tries the script itself at tiny sizes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpu.parent import ROOT, Parent
from gpu.steps import chosen
from gpu.stored_rows import merged, read_lines, read_rows
from result_rows import RESULTS


def commit_here() -> str | None:
    """The commit that is checked out, "-dirty" added if files were changed; None outside of a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def main(arguments: list[str]) -> int:
    """Do the steps and write the rows; 1 if a step failed or was ended."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpu", action="store_true", help="tiny sizes on the CPU; --out must be named")
    parser.add_argument("--only", default="", help="steps, with commas between")
    parser.add_argument("--seconds", type=float, default=600, help="time for all steps")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of cuda.json and gpu_check.log")
    parser.add_argument("--commit", default=None, help="what is measured, if this is no git checkout")
    given = parser.parse_args(arguments)
    try:
        steps = chosen(given.only)
    except ValueError as error:
        parser.error(str(error))
    commit = given.commit or commit_here()
    if commit is None:
        parser.error("this is no git checkout: name the commit that is measured by --commit")
    if given.cpu and given.out.resolve() == RESULTS.resolve():
        parser.error("rows of the CPU are no results: name another folder by --out")
    given.out.mkdir(parents=True, exist_ok=True)
    device = "cpu" if given.cpu else "cuda"
    with (
        tempfile.TemporaryDirectory(prefix="gpu-check-") as work,
        (given.out / "gpu_check.log").open("a", encoding="utf-8") as log,
    ):
        # A second call with the same folder adds to what the first one measured.
        before = read_rows(given.out / "cuda.json")
        stored = before if before or given.cpu else read_rows(RESULTS / "cuda.json")

        def write() -> None:
            """Write what is measured so far: who waits for all may be ended."""
            measured = [row for step in steps for row in read_lines(parent.rows(step))]
            text = json.dumps(merged(stored, measured), indent=1)
            (given.out / "cuda.json").write_text(text + "\n", encoding="utf-8")

        end = time.monotonic() + given.seconds
        parent = Parent(device, commit, Path(work), log, end, after_step=write)
        parent.all_steps(steps)
    for name, how in parent.ended.items():
        print(f"{name}: {how}")
    return 0 if all(how.startswith("done") for how in parent.ended.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
