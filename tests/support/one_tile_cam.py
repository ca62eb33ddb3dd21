"""The CAMs of a single tile, for tests that look at one."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sonarseg.cam.extract import extract_cams


def extract_cam(
    network: nn.Module, image: Tensor, shown: NDArray[np.bool_], **options: Any
) -> NDArray[np.float32]:
    """CAMs float32 (K, H, W) of a normalised tile (C, H, W) that may hold the classes `shown`."""
    return extract_cams(network, image[None], torch.from_numpy(shown)[None], **options)[0].numpy()
