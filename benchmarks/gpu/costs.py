"""What a run spends besides its steps: checkpoints, and the start of its process."""

from __future__ import annotations

from run_checkpoints import checkpoint_rows, training_state
from run_rows import NETWORKS
from run_start import startup_case

from gpu.check import Check


def checkpoints(check: Check) -> None:
    """How long training waits for a checkpoint, beside `torch.save` and a flush."""
    folder = check.work / "checkpoints"
    folder.mkdir()
    state = training_state(check.device, NETWORKS[check.device])
    check.keep(checkpoint_rows(folder, state, check.device, check.sizes.turns))


def start(check: Check) -> None:
    """Seconds from process start to the first step, beside the plain loop."""
    check.keep([startup_case(check.survey("large"), check.device, 1)])


PARTS = (checkpoints, start)
