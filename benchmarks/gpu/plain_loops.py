"""Training and CAM extraction beside the plain loops, each side in a process of its own, in turn."""

from __future__ import annotations

from run_rows import BATCH, NETWORKS
from run_sides import rates_in_turn

from gpu.check import Check

# The sides take no further turn after so many seconds.
_TURN_SECONDS = 20.0


def steps(check: Check) -> None:
    """Steps a second beside the plain loop with and without autocast, and with `training.deterministic`."""
    side = check.sizes.large[1]
    case = (
        f"training steps, {check.device}, {NETWORKS[check.device]['encoder']}, batch {BATCH}, {side} x {side}"
    )
    peers = {"the plain loop": "plain_training", "the plain loop with autocast": "plain_amp_training"}
    if not check.cuda:
        del peers["the plain loop with autocast"]
    ours, *theirs = rates_in_turn(
        ["our_training", *peers.values()],
        check.survey("large"),
        check.device,
        check.sizes.turns,
        _TURN_SECONDS,
    )
    for name, peer in zip(peers, theirs, strict=True):
        check.row(f"{case}, beside {name}", ours, peer, "steps/s", larger_is_better=True)


def cams(check: Check) -> None:
    """Tiles a second through CAM extraction beside a loop over tiles, scales and flips."""
    side = check.sizes.large[1]
    ours, peer = rates_in_turn(
        ["our_cams", "plain_cams"], check.survey("large"), check.device, check.sizes.turns, _TURN_SECONDS
    )
    case = f"CAM extraction, {check.device}, 4 scales with flips, {side} x {side}"
    check.row(case, ours, peer, "tiles/s", larger_is_better=True)


PARTS = (steps, cams)
