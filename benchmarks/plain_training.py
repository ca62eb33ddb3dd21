"""What `runs.py` compares with: the training loop and the CAM loop as people write them.

The training loop follows torchvision's segmentation recipe in spirit: a DataLoader with workers, transforms
an image on the CPU, cross-entropy, a learning rate that falls each step, the loss printed from the host.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from sonarseg.network.model import SegmentationNetwork

# A worker for each core that this process may use; more than 16 gain nothing here.
WORKERS = min(16, len(os.sched_getaffinity(0)))
Sample = tuple[Tensor, Tensor]


class PlainTiles(Dataset[Sample]):
    """Tiles and masks from their files, each augmented by itself."""

    def __init__(self, images: list[Path], masks: list[Path], mean: float, std: float) -> None:
        self.images, self.masks = images, masks
        self.normalise = v2.Normalize([mean], [std])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        image = v2.functional.to_dtype(
            v2.functional.pil_to_tensor(Image.open(self.images[index])), torch.float32, scale=True
        )
        mask = v2.functional.pil_to_tensor(Image.open(self.masks[index]))
        if torch.rand(()) < 0.5:
            image, mask = v2.functional.vertical_flip(image), v2.functional.vertical_flip(mask)
        image = image * (1 + 0.4 * (2 * torch.rand(()) - 1))
        image = image * (1 + 0.1 * torch.randn(image.shape)).clamp_min(0)
        return self.normalise(image.clamp(0, 1)), mask[0].long()


class PlainTraining:
    """Model, optimiser and loader of the plain loop."""

    def __init__(
        self,
        network: SegmentationNetwork,
        tiles: PlainTiles,
        batch_size: int,
        device: torch.device,
        amp: bool,
    ) -> None:
        self.network, self.device, self.amp = network.to(device), device, amp
        self.loader = DataLoader(
            tiles,
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=WORKERS,
            persistent_workers=True,
            pin_memory=device.type == "cuda",
        )
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: (1 - min(step, 9999) / 10_000) ** 0.9
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=amp)
        # Called after every step
        self.after_step: Callable[[], None] = lambda: None

    def epoch(self) -> int:
        """Train one epoch and count the steps."""
        self.network.train()
        steps, shown = 0, 0.0
        for images, target in self.loader:
            images, target = images.to(self.device), target.to(self.device)
            with torch.autocast(self.device.type, enabled=self.amp):
                loss = F.cross_entropy(self.network(images)[1], target, ignore_index=255)
            self.optimiser.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimiser)
            self.scaler.update()
            self.schedule.step()
            shown += loss.item()
            steps += 1
            self.after_step()
        if not np.isfinite(shown):
            raise RuntimeError("the plain loop's loss is not finite")
        return steps


def plain_cams(
    network: nn.Module, images: Iterator[Tensor], scales: tuple[float, ...], shown: NDArray[np.bool_]
) -> list[NDArray[np.float32]]:
    """Activation maps one tile, scale and flip at a time; images are normalised (1, C, H, W)."""
    network.eval()
    found = []
    for image, kept in zip(images, shown, strict=True):
        size = image.shape[2:]
        total = torch.zeros(len(kept), *size, device=image.device)
        with torch.no_grad():
            for scale in scales:
                view = F.interpolate(
                    image,
                    size=[round(side * scale) for side in size],
                    mode="bilinear",
                    align_corners=False,
                    antialias=scale < 1,
                )
                for flipped in (False, True):
                    seen = view.flip(-2) if flipped else view
                    maps = network.cam(network.encode(seen))  # type: ignore[operator]
                    maps = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)[0]
                    total += maps.flip(-2) if flipped else maps
            total[torch.from_numpy(~kept)] = 0
            total /= total.amax(dim=(1, 2), keepdim=True) + 1e-5
        found.append(np.asarray(total.cpu().numpy()))
    return found
