"""Steps whose loss or gradient is not finite: left out, a bounded number of times."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sonarseg.training.failures import RunFailed

MAX_SKIPPED = 10
# A look at a CUDA device's counter waits for the device: only every so many steps.
CUDA_STEPS_BETWEEN_LOOKS = 50
# From 2^16 a gradient scaler comes to 2^-8 by so many halvings: then the gradient itself is not finite.
_HALVINGS = 24


class StepGuard:
    """Tells the fused optimiser on the device itself to leave a step out, and counts such steps.

    Statistics of batch normalisation that such a step has spoilt are put back.

    Parameters
    ----------
    network : Module
        The network that is trained.
    device : torch.device
        Where it lies.
    steps_between_looks : int, optional
        Steps from one look at the counter to the next; 1 on the CPU, where a look costs nothing.
    """

    def __init__(
        self, network: torch.nn.Module, device: torch.device, steps_between_looks: int | None = None
    ) -> None:
        self._buffers = [b for b in network.buffers() if b.is_floating_point()]
        self._kept = [buffer.clone() for buffer in self._buffers]
        self._found = torch.zeros((), device=device)
        self._in_a_row = torch.zeros((), device=device)
        default = CUDA_STEPS_BETWEEN_LOOKS if device.type == "cuda" else 1
        self._between = steps_between_looks or default
        self._steps = self._skipped_before = 0
        self.skipped = 0

    def state(self) -> dict[str, Any]:
        """What the checkpoint keeps, so that the bound holds over interruptions."""
        return {"skipped": self.skipped}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint, once the network has its own."""
        self.skipped = self._skipped_before = int(state["skipped"])
        self.keep()

    def finite_part(self, loss: Tensor) -> Tensor:
        """The loss, 0 where it is not finite: what goes into the mean of an epoch."""
        return torch.nan_to_num(loss.detach(), nan=0.0, posinf=0.0, neginf=0.0)

    def judge(self, loss: Tensor, norm: Tensor, optimiser: torch.optim.Optimizer, *, scaled: bool) -> None:
        """Have the coming step of the optimiser left out where loss or gradient is not finite.

        Parameters
        ----------
        loss, norm : scalar Tensor
            The loss, and the norm of the gradient.
        optimiser : Optimizer
            Fused: it looks at its attribute `found_inf` on the device.
        scaled : bool
            Under a gradient scaler, which leaves steps of its own accord out while it finds its scale:
            the norm counts once it was not finite in more steps one after the other than that takes.
        """
        found = ~torch.isfinite(loss.detach())
        if scaled:
            self._in_a_row = (self._in_a_row + 1) * ~torch.isfinite(norm)
            found = found | (self._in_a_row > _HALVINGS)
        else:
            found = found | ~torch.isfinite(norm)
            optimiser.found_inf = found.float()  # type: ignore[attr-defined]
            optimiser.grad_scale = None  # type: ignore[attr-defined]
        self._found += found.float()

    def after_step(self, epoch: int) -> None:
        """Look at the counter now and then.

        Raises
        ------
        RunFailed
            Where more than `MAX_SKIPPED` steps of the run were left out.
        """
        self._steps += 1
        if self._steps % self._between == 0:
            self._look(epoch)

    def end_epoch(self, epoch: int) -> int:
        """Look at the counter once more and count the steps of this epoch that were left out.

        Raises
        ------
        RunFailed
            Where these were too many, or all of the epoch.
        """
        self._look(epoch)
        steps, skipped = self._steps, self.skipped - self._skipped_before
        self._steps, self._skipped_before = 0, self.skipped
        if skipped > 1 and skipped == steps:
            raise RunFailed(
                f"loss or gradient was not finite in any step of epoch {epoch}: lower training.learning_rate."
            )
        return skipped

    def _look(self, epoch: int) -> None:
        found = int(self._found)
        if not found:
            self.keep()
            return
        self._found.zero_()
        self.skipped += found
        if not all(bool(torch.isfinite(buffer).all()) for buffer in self._buffers):
            torch._foreach_copy_(self._buffers, self._kept)
        if self.skipped > MAX_SKIPPED:
            raise RunFailed(
                f"loss or gradient was not finite in {self.skipped} steps, the last of them in epoch {epoch} "
                f"(up to {MAX_SKIPPED} are left out): lower training.learning_rate."
            )

    def keep(self) -> None:
        """Take the batch statistics as they are for those to put back."""
        torch._foreach_copy_(self._kept, self._buffers)
