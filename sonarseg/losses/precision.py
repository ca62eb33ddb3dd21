"""What every loss shares: the ignore index, and arithmetic in no less than float32."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision (a network under autocast) as float32; float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
