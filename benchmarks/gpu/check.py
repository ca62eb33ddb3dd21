"""What every step is given: device, sizes, surveys, clock, and where its rows go."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import result_rows
import torch
from result_rows import Row
from run_rows import synchronise

from gpu.sizes import FULL, TINY, Sizes

# A survey is simulated within this time on any machine.
_WAIT_SECONDS = 180


@dataclass(frozen=True)
class Check:
    """A step's surroundings.

    Attributes
    ----------
    device : str
        "cuda" or "cpu".
    commit : str
        What is measured.
    work : Path
        Folder of all steps.
    rows : Path
        File of the step's rows, one JSON object a line.
    """

    device: str
    commit: str
    work: Path
    rows: Path

    @property
    def cuda(self) -> bool:
        """True on a CUDA device."""
        return self.device == "cuda"

    @property
    def sizes(self) -> Sizes:
        """Sizes of this device."""
        return FULL if self.cuda else TINY

    @property
    def card(self) -> str:
        """Name of the device as rows have it."""
        return torch.cuda.get_device_name() if self.cuda else "cpu"

    def say(self, text: str) -> None:
        """Print a finding that is no row."""
        print(f"= {text}", flush=True)

    def row(
        self,
        case: str,
        ours: float,
        peer: float | None,
        unit: str,
        *,
        larger_is_better: bool | None = None,
    ) -> None:
        """Print and keep a row; see `result_rows.row`."""
        self.keep([result_rows.row(case, ours, peer, unit, larger_is_better=larger_is_better)])

    def keep(self, rows: Sequence[Row]) -> None:
        """Keep rows, card and commit added, at once: a step that is ended later does not lose them."""
        with self.rows.open("a", encoding="utf-8") as file:
            for row in rows:
                case = f"{row['case']}; {self.card}, {self.commit}"
                file.write(json.dumps({**row, "case": case}) + "\n")

    def survey(self, name: str) -> Path:
        """Folder of the survey "large" or "small", which is simulated meanwhile."""
        folder = self.work / name
        end = time.monotonic() + _WAIT_SECONDS
        while not (folder / "made").is_file():
            if time.monotonic() > end:
                raise RuntimeError(f"the survey {name} was not simulated within {_WAIT_SECONDS} s")
            time.sleep(0.1)
        return folder / "survey"

    def synchronise(self) -> None:
        """Wait for what the device still has to do."""
        synchronise(self.device)

    def milliseconds(self, work: Callable[[], object], most_seconds: float = 6.0) -> float:
        """Median time of some work after a call that warms up.

        It is done `sizes.repeats` times, but not begun again after `most_seconds`.
        """
        work()
        times: list[float] = []
        while len(times) < self.sizes.repeats and sum(times) < most_seconds:
            self.synchronise()
            started = time.perf_counter()
            work()
            self.synchronise()
            times.append(time.perf_counter() - started)
        return 1e3 * median(times)
