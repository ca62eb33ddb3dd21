"""A training step recorded once as a CUDA graph and played again: one launch in place of a thousand."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

# Steps that are computed before one is recorded: libraries of CUDA choose their kernels meanwhile.
_STEPS_BEFORE = 3


class StepGraph:
    """Takes steps of one kind from a recording; on the CPU each is computed, from the same fixed inputs.

    Parameters
    ----------
    device : torch.device
        Where the step computes.
    generator : torch.Generator
        Of that device, from which the step draws: it must stay the same one, and may be seeded again.
    """

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        self._device, self._generator = device, generator
        self._kind: Hashable = None
        self._inputs: list[Tensor] = []
        self._graph: torch.cuda.CUDAGraph | None = None
        self._recorded: Callable[..., Tensor] | None = None
        self._result = torch.empty(0)
        self._taken = 0

    def forget(self) -> None:
        """Record again at the next step, as what it computes on was replaced."""
        self._kind, self._graph, self._recorded, self._inputs = None, None, None, []

    def take(self, kind: Hashable, step: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Tensor:
        """Take one step.

        Parameters
        ----------
        kind : hashable
            Steps of one kind differ in nothing but their inputs, of which the shapes are alike.
        step : callable
            Computes a step from its inputs without the host waiting, and returns a tensor.
        inputs : sequence of Tensor
            On the device.

        Returns
        -------
        Tensor
            The result, valid until the next step.
        """
        if kind != self._kind:
            self.forget()
            self._kind, self._taken = kind, 0
            self._inputs = [given.clone() for given in inputs]
        else:
            for fixed, given in zip(self._inputs, inputs, strict=True):
                fixed.copy_(given, non_blocking=True)
        if self._device.type != "cuda":
            return step(*self._inputs)
        self._taken += 1
        if self._taken <= _STEPS_BEFORE:
            return self._aside(step)
        if self._graph is None:
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self._generator)
            # Recording computes nothing.
            with torch.cuda.graph(graph):
                self._result = step(*self._inputs)
            self._graph = graph
            # The recording reads what the step holds, as weights of classes.
            self._recorded = step
        self._graph.replay()
        return self._result

    def _aside(self, step: Callable[..., Tensor]) -> Tensor:
        """Compute a step on a stream of its own, as a recording does."""
        current, aside = torch.cuda.current_stream(self._device), torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            result = step(*self._inputs)
        current.wait_stream(aside)
        result.record_stream(current)
        return result
