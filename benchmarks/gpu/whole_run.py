"""The share of a run of five minutes that is not training."""

from __future__ import annotations

import time

from run_sides import our_training
from run_start import not_training_cases

from gpu.check import Check


def shares(check: Check) -> None:
    """Where the time of a whole run goes, process start to exit."""
    survey = check.survey("large")
    epoch = our_training(survey, check.device)
    epoch()
    check.synchronise()
    started = time.perf_counter()
    steps = epoch()
    check.synchronise()
    rate = steps / (time.perf_counter() - started)
    check.keep(not_training_cases(survey, check.device, check.sizes.run_seconds, rate))


PARTS = (shares,)
