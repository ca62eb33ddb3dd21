"""A step: `python -m gpu.step NAME --device DEVICE --commit COMMIT --work FOLDER --rows FILE`."""

from __future__ import annotations

import argparse
import sys
import traceback
from importlib import import_module
from pathlib import Path

from gpu.check import Check


def run_step(name: str, check: Check) -> list[str]:
    """Do all parts of a step and name those that failed; a part that fails does not end the others."""
    failed = []
    for part in import_module(f"gpu.{name}").PARTS:
        try:
            part(check)
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            failed.append(part.__name__)
            first = (str(error).splitlines() or [""])[0]
            check.say(f"{name}, {part.__name__} FAILED: {type(error).__name__}: {first[:300]}")
    return failed


def main() -> None:
    """Do the step that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--device", required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    arguments = vars(parser.parse_args())
    sys.exit(1 if run_step(arguments.pop("name"), Check(**arguments)) else 0)


if __name__ == "__main__":
    main()
