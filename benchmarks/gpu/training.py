"""Steps of our trainer: as a CUDA graph, idle share, batches, losses, deterministic; none beside a peer."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from run_rows import NETWORKS
from run_sides import our_training

from gpu.check import Check
from gpu.kernels import profiled, say_kernels
from sonarseg.losses.cross_entropy import cross_entropy
from sonarseg.network.model import SegmentationNetwork
from sonarseg.training.device import free_memory, make_deterministic

# No epoch of a rate begins after so many seconds.
_RATE_SECONDS = 2.0


def graph(check: Check) -> None:
    """Forward, loss, backward, clipping and AdamW of one batch, launch by launch and as a CUDA graph."""
    if not check.cuda:
        return
    for encoder, channels, side in (("resnet50", 256, 256), ("resnet18", 64, 128)):
        eager, replayed = _eager_and_replayed(check, _step(encoder, channels, side))
        case = f"a bare step, {encoder}, batch 16, {side} x {side}"
        check.row(f"{case}, launch by launch", eager, None, "ms")
        check.row(f"{case}, as a CUDA graph", replayed, None, "ms")
        free_memory(torch.device("cuda"))


def _eager_and_replayed(check: Check, step: Callable[[], None]) -> tuple[float, float]:
    """Milliseconds of ten steps each, divided by ten."""
    others = torch.cuda.Stream()
    others.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(others):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(others)
    eager = check.milliseconds(lambda: [step() for _ in range(10)]) / 10
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        step()
    return eager, check.milliseconds(lambda: [captured.replay() for _ in range(10)]) / 10


def _step(encoder: str, channels: int, side: int) -> Callable[[], None]:
    network = SegmentationNetwork(encoder, 1, 6, decoder_channels=channels)
    network = network.to(memory_format=torch.channels_last).cuda()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True, capturable=True)
    images = torch.rand(16, 1, side, side, device="cuda")
    target = torch.randint(0, 6, (16, side, side), device="cuda")

    def step() -> None:
        # A cache of weights that outlives the capture would be of no use to a replay.
        with torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False):
            logits = network.decode(network.encode(images), (side, side))
        cross_entropy(logits.float(), target).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0, foreach=True)
        optimiser.step()
        # At the end: a graph must begin without gradients, which it keeps in memory of its own.
        optimiser.zero_grad(set_to_none=True)

    return step


def idle(check: Check) -> None:
    """Share of the time the GPU idles while training, and where the rest goes."""
    if not check.cuda:
        return
    epoch = our_training(check.survey("large"), check.device)
    epoch()
    say_kernels(check, "an epoch of training", epoch, 14)

    def work() -> int:
        steps = 0
        while steps < check.sizes.idle_steps:
            steps += epoch()
        return steps

    share = profiled(work).idle
    case = f"share of the time the GPU idles while training, {check.sizes.idle_steps} steps"
    check.row(case, 100 * share, None, "%")


def _rate(check: Check, case: str, epoch: Callable[[], int], batch: int) -> None:
    """Milliseconds a step, of as many epochs as fit into a stated time, at least one."""
    epoch()
    if check.cuda:
        epoch()
    check.synchronise()
    started, steps = time.perf_counter(), 0
    while not steps or (time.perf_counter() - started < _RATE_SECONDS and check.cuda):
        steps += epoch()
        check.synchronise()
    taken = time.perf_counter() - started
    check.row(case, 1e3 * taken / steps, None, "ms")
    reserved = f", {torch.cuda.max_memory_reserved() / 2**30:.1f} GiB reserved" if check.cuda else ""
    check.say(f"{case}: {batch * steps / taken:.0f} tiles/s{reserved}")


def _measured(check: Check, case: str, batch: int, **how: object) -> None:
    epoch = our_training(check.survey("large"), check.device, batch=batch, **how)  # type: ignore[arg-type]
    _rate(check, case, epoch, batch)
    del epoch
    free_memory(torch.device(check.device))
    if check.cuda:
        torch.cuda.reset_peak_memory_stats()


def batches(check: Check) -> None:
    """Milliseconds a step, the largest batch first."""
    encoder = NETWORKS[check.device]["encoder"]
    check.say(f"steps of {encoder}, {check.sizes.large[1]} x {check.sizes.large[1]}")
    for batch in reversed(check.sizes.batches):
        _measured(check, f"a step, batch {batch}, cross-entropy", batch)


def losses(check: Check) -> None:
    """A step with Lovász-Softmax."""
    batch = check.sizes.batches[0]
    _measured(check, f"a step, batch {batch}, lovasz_softmax", batch, loss_name="lovasz_softmax")


def deterministic(check: Check) -> None:
    """Steps with `training.deterministic = true`, as it is and filling empty memory otherwise."""
    batch = check.sizes.batches[0]
    for loss in ("cross-entropy", "lovasz_softmax") if check.cuda else ("cross-entropy",):
        case = f"a step, batch {batch}, {loss}, deterministic = true"
        _measured(check, case, batch, loss_name=loss, deterministic=True)
        filled = torch.utils.deterministic.fill_uninitialized_memory
        epoch = our_training(
            check.survey("large"), check.device, batch=batch, loss_name=loss, deterministic=True
        )
        torch.utils.deterministic.fill_uninitialized_memory = not filled
        _rate(check, f"{case}, empty memory {'not filled' if filled else 'filled'}", epoch, batch)
        torch.utils.deterministic.fill_uninitialized_memory = filled
    make_deterministic(False)


def searched_kernels(check: Check) -> None:
    """A step with `cudnn.benchmark`, by which cuDNN times its kernels at first use."""
    if check.cuda:
        batch = check.sizes.batches[0]
        torch.backends.cudnn.benchmark = True
        _measured(check, f"a step, batch {batch}, cross-entropy, cudnn.benchmark", batch)
        torch.backends.cudnn.benchmark = False


PARTS = (batches, idle, graph, losses, deterministic, searched_kernels)
