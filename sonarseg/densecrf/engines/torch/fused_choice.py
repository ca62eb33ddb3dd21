"""Whether the fused kernels run: on a device where they compile and give the labels of torch operations."""

from __future__ import annotations

from threading import Lock

import numpy as np
import torch

from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.errors import UserError
from sonarseg.training.device import numbered

# Whether CUDA devices take the fused kernels unless a caller says so
FUSED_BY_DEFAULT = True
# Of two sizes, as the lattice of tiles of one size would be kept
_SIZES, _CLASSES, _ITERATIONS = ((48, 44), (40, 48)), 5, 3
# Fewer equal labels than this are more than ties that are rounded otherwise.
_EQUAL_SHARE = 0.999
_lock = Lock()
_refusals: dict[torch.device, str] = {}


def takes_fused(wanted: bool | None, device: torch.device) -> bool:
    """Whether the fused kernels run; `wanted` as `engine.label_history` takes it."""
    if wanted is not None:
        return wanted
    return FUSED_BY_DEFAULT and device.type == "cuda" and not _refusal(numbered(device))


def fallback_note(device: torch.device) -> str:
    """Say why torch operations run in place of the fused kernels: one sentence, empty if nothing failed."""
    if not FUSED_BY_DEFAULT or device.type != "cuda":
        return ""
    return _refusal(numbered(device))


def _refusal(device: torch.device) -> str:
    """Try the kernels once for each device in a process."""
    with _lock:
        if device not in _refusals:
            reason = _tried(device)
            _refusals[device] = reason and (
                f"the fused kernels of the dense CRF do not run on {device} ({reason}): "
                "torch operations compute it"
            )
        return _refusals[device]


def _tried(device: torch.device) -> str:
    """Why the kernels cannot be used, empty if they can.

    Raises
    ------
    UserError
        If even a small tile does not fit the memory of the device.
    """
    # The engine asks here which kernels to run.
    from sonarseg.densecrf.engines.torch.engine import last_labels

    parameters, tiles = CrfParameters(iterations=_ITERATIONS), [_small_tile(*size) for size in _SIZES]
    expected = last_labels(tiles, parameters, device=device, deterministic=True, fused=False)
    try:
        found = last_labels(tiles, parameters, device=device, fused=True)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001
        # Triton, its compilers and the driver each fail with classes of their own; the reason is stated.
        line = next(iter(str(error).strip().splitlines()), "")
        return f"{type(error).__name__}: {line}" if line else type(error).__name__
    equal = min(float((one == other).mean()) for one, other in zip(found, expected, strict=True))
    return "" if equal >= _EQUAL_SHARE else f"{equal:.1%} of the labels equal those of torch operations"


def _small_tile(height: int, width: int) -> CrfTile:
    generator = np.random.default_rng(height)
    scores = generator.random((_CLASSES, height, width), dtype=np.float32)
    return CrfTile(scores, generator.integers(0, 256, (height, width), dtype=np.uint8))
