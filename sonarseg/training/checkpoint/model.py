"""A network with all that is needed to use it on new tiles, kept in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonarseg.features.encoder import FeatureSettings
from sonarseg.features.network import FrozenNetwork
from sonarseg.network.model import SegmentationNetwork
from sonarseg.network.two_heads import TwoHeadNetwork
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.checkpoint.files import CHECKPOINT, load_checkpoint
from sonarseg.training.config import CamConfig, CamLoss, NetworkConfig, SonarGeometry
from sonarseg.training.data.tiles import Normalisation


@dataclass(frozen=True)
class Model:
    """A trained network and how its input is prepared."""

    network: TwoHeadNetwork
    classes: tuple[str, ...]
    background: str | None
    scaling: GreyScaling
    normalisation: Normalisation
    network_config: NetworkConfig
    sonar: SonarGeometry
    device: torch.device
    cam: CamConfig = field(default_factory=CamConfig)

    @property
    def background_id(self) -> int | None:
        """Class id of the background, where there is one."""
        return None if self.background is None else self.classes.index(self.background)

    def encode(self, seen: Tensor) -> Tensor:
        """Features of uint8 pictures (B, C, H, W), or of stored float16 features of a frozen encoder."""
        if isinstance(self.network, FrozenNetwork) and seen.dtype == torch.float16:
            return self.network.standardised(seen)
        return self.network.encode(self.normalisation(seen.float() / 255))

    def description(self) -> dict[str, Any]:
        """What a checkpoint stores beside the weights."""
        return {
            "classes": list(self.classes),
            "background": self.background,
            "scaling": self.scaling.model_dump(),
            "mean": list(self.normalisation.mean),
            "std": list(self.normalisation.std),
            "network": self.network_config.model_dump(),
            "sonar": self.sonar.model_dump(),
            "cam": self.cam.model_dump(),
        }


def build_network(
    config: NetworkConfig, channels: int, num_classes: int, cam_loss: CamLoss = "binary"
) -> TwoHeadNetwork:
    """Make the network of a configuration, with fresh weights.

    Its kernels lie channels last in memory, which convolutions and pooling take faster on CPU and CUDA.
    """
    network: TwoHeadNetwork
    if config.frozen:
        settings = FeatureSettings(config.encoder, cell=config.cell, statistics=config.local_statistics)
        network = FrozenNetwork(settings, num_classes, config.decoder_channels, config.branch_channels)
        return network.to(memory_format=torch.channels_last)
    network = SegmentationNetwork(
        config.encoder,
        channels,
        num_classes,
        output_stride=config.output_stride,
        decoder_channels=config.decoder_channels,
        stages=config.stages,
        competing=cam_loss == "candidate",
    )
    return network.to(memory_format=torch.channels_last)


def load_model(run_dir: Path, device: torch.device) -> Model:
    """Read the model of a run from its checkpoint.

    Raises
    ------
    UserError
        Where the run has no checkpoint that can be read.
    """
    # To host memory: the optimiser's part, which is dropped here, is twice the network's.
    state = load_checkpoint(run_dir / CHECKPOINT, torch.device("cpu"))
    description = state["model"]
    config = NetworkConfig.model_validate(description["network"])
    scaling = GreyScaling.model_validate(description["scaling"])
    # Networks of earlier versions were of the default.
    cam = CamConfig.model_validate(description.get("cam", {}))
    network = build_network(config, scaling.channels, len(description["classes"]), cam.loss)
    network.load_state_dict(state["network"])
    network.to(device).eval()
    return Model(
        network,
        tuple(description["classes"]),
        description["background"],
        scaling,
        Normalisation(tuple(description["mean"]), tuple(description["std"])),
        config,
        SonarGeometry.model_validate(description["sonar"]),
        device,
        cam,
    )
