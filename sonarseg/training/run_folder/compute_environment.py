"""What a run is computed on, as far as its figures depend on that."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sonarseg.densecrf.engines.base import pick_engine
from sonarseg.training.config import RunConfig
from sonarseg.training.device import device_name


@dataclass(frozen=True)
class ComputeEnvironment:
    """What the last digits of a run's figures depend on.

    Attributes
    ----------
    device : str
        As the report names it.
    threads : int or None
        Of torch; None on a device where they decide nothing.
    engine : str or None
        What computes the dense CRF; None in a run that needs none.
    """

    device: str
    threads: int | None
    engine: str | None

    def __str__(self) -> str:
        """In words, for the log."""
        return f"on {self.device}" + (f", dense CRF by {self.engine}" if self.engine else "")

    def changes(self, before: ComputeEnvironment) -> str:
        """What is no longer as it was, in words; empty where nothing has changed."""
        changed = []
        if self.device != before.device:
            changed.append(f"on {self.device} instead of {before.device}")
        if self.threads and before.threads and self.threads != before.threads:
            changed.append(f"with {self.threads} threads instead of {before.threads}")
        if self.engine != before.engine:
            changed.append(f"with the dense CRF by {self.engine} instead of {before.engine}")
        return ", ".join(changed)


def compute_environment(config: RunConfig, device: torch.device) -> ComputeEnvironment:
    """What a run is computed on here."""
    refines = config.supervision == "labels" and config.stage != "warm-up"
    if config.first_pseudo_labels is not None and config.training.rounds == 1:
        refines = False
    return ComputeEnvironment(
        device_name(device),
        torch.get_num_threads() if device.type == "cpu" else None,
        pick_engine(config.engine, str(device)).name if refines else None,
    )
