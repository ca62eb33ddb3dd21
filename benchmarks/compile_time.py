"""What `torch.compile` would take and bring in training on the CPU, on the network of `runs.py`.

python benchmarks/compile_time.py
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from result_rows import seconds
from run_rows import BATCH, NETWORKS, SIZES
from torch import Tensor

from sonarseg.network.model import SegmentationNetwork

CLASSES, STEPS, TURNS = 4, 5, 3


def stepper(forward: Callable[[Tensor], Tensor], network: SegmentationNetwork) -> Callable[[], None]:
    """One training step on a fixed batch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 1, SIZES["cpu"], SIZES["cpu"], generator=generator)
    target = torch.randint(0, CLASSES, (BATCH, SIZES["cpu"], SIZES["cpu"]), generator=generator)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        loss = F.cross_entropy(forward(images), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def main() -> None:
    """Print the time to the end of the first compiled step, and the steps a second of both."""
    settings = dict(NETWORKS["cpu"])
    network = SegmentationNetwork(settings.pop("encoder"), 1, CLASSES, **settings)
    network.train()

    def forward(images: Tensor) -> Tensor:
        return network(images)[1]  # type: ignore[no-any-return]

    plain = stepper(forward, network)
    compiled = stepper(torch.compile(forward), network)
    plain()
    first = seconds(compiled)
    compiled()
    rates: list[list[float]] = [[], []]
    for _ in range(TURNS):
        for side, step in zip(rates, (plain, compiled), strict=True):
            side.append(STEPS / seconds(lambda step=step: [step() for _ in range(STEPS)]))  # type: ignore[misc]
    without, with_it = (median(side) for side in rates)
    print(f"first compiled step: {first:.1f} s")
    print(f"steps/s: {without:.2f} without torch.compile, {with_it:.2f} with it")


if __name__ == "__main__":
    main()
