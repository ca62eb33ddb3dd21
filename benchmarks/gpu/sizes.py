"""How large the checks are: on a CUDA device, and on the CPU, where only the script itself is tried."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Sizes of all steps.

    Attributes
    ----------
    crf_tiles, crf_side : int
        Tiles of the dense CRF, and their side, pixels.
    large, small : (int, int)
        Tiles of the two simulated surveys, and their side, pixels.
    study_tiles : int
        Tiles of a crf trial.
    repeats : int
        How often a short piece of work is timed.
    turns : int
        Turns of the sides that are compared.
    batches : tuple of int
        Tiles a step, the first of them compared in all other respects too.
    idle_steps : int
        Steps over which the idle share is measured.
    losses : (int, int)
        Tiles a batch of the losses, and their side, pixels.
    crf_trials, loss_trials : int
        Budget of the small study.
    run_seconds : float
        Length of the whole run.
    """

    crf_tiles: int
    crf_side: int
    large: tuple[int, int]
    small: tuple[int, int]
    study_tiles: int
    repeats: int
    turns: int
    batches: tuple[int, ...]
    idle_steps: int
    losses: tuple[int, int]
    crf_trials: int
    loss_trials: int
    run_seconds: float


FULL = Sizes(
    crf_tiles=40,
    crf_side=256,
    large=(480, 256),
    small=(60, 128),
    study_tiles=40,
    repeats=5,
    turns=3,
    batches=(16, 32, 64),
    idle_steps=60,
    losses=(8, 256),
    crf_trials=20,
    loss_trials=6,
    run_seconds=300,
)
TINY = Sizes(
    crf_tiles=2,
    crf_side=32,
    large=(40, 32),
    small=(30, 32),
    study_tiles=3,
    repeats=1,
    turns=1,
    batches=(16,),
    idle_steps=1,
    losses=(2, 32),
    crf_trials=4,
    loss_trials=3,
    run_seconds=1,
)
