"""Lovász-Softmax beside segmentation-models-pytorch and kornia, those that are installed, and its memory."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from run_losses import CLASSES, PEERS, lovasz_cases, lovasz_inputs

from gpu.check import Check
from gpu.kernels import say_kernels
from sonarseg.losses.lovasz_softmax import lovasz_softmax


def beside(check: Check) -> None:
    """Forward and backward beside each peer; equal values."""
    there = [name for name, module in PEERS.items() if find_spec(module)]
    for name in PEERS.keys() - there:
        check.say(f"{name} is not installed: its rows stay open")
    turns = 5 * check.sizes.turns if check.cuda else 1
    check.keep(lovasz_cases(check.device, turns, *check.sizes.losses, peers=there))


def alone(check: Check) -> None:
    """Milliseconds, and bytes in use beside the logits and the target."""
    batch, side = check.sizes.losses
    for classes in CLASSES:
        logits, target = lovasz_inputs(check.device, batch, side, classes)

        def work(logits: torch.Tensor = logits, target: torch.Tensor = target) -> None:
            logits.grad = None
            lovasz_softmax(logits, target).backward()

        case = f"Lovász-Softmax, {check.device}, batch {batch}, {side} x {side}, {classes} classes"
        check.row(case, check.milliseconds(work), None, "ms")
        if check.cuda:
            logits.grad = None
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            work()
            used = (torch.cuda.max_memory_allocated() - before) / logits.numel()
            check.row(f"{case}, memory a pixel and class", used, None, "bytes")
            say_kernels(check, case, work, 4)


PARTS = (beside, alone)
