"""The configuration of a run: what `RUN_DIR/config.json` holds.

The sections are shared with `study.toml`, so that a trial, the warm-up and a lone run
are described by the same words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sonarseg.densecrf.engines.base import EngineName
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.losses.config import LossConfig
from sonarseg.survey.scaling import GreyScaling

Encoder = (
    Literal["resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v3_large", "efficientnet_lite0"]
    | Annotated[str, Field(pattern=r"^timm:\S+$", title='"timm:NAME"')]
)
Supervision = Literal["labels", "single-label", "masks"]


class Section(BaseModel):
    """A frozen group of settings in which a misspelt name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SonarGeometry(Section):
    """How the tiles lie to the sonar; flips that would turn the shadows round are not used."""

    range_axis: Literal["horizontal", "vertical"] = "horizontal"
    both_sides: bool = False

    def allowed_flips(self) -> tuple[Literal["horizontal", "vertical"], ...]:
        """Flips along the track, and across it where a tile shows both sides."""
        along: Literal["horizontal", "vertical"] = (
            "vertical" if self.range_axis == "horizontal" else "horizontal"
        )
        return ("horizontal", "vertical") if self.both_sides else (along,)


class NetworkConfig(Section):
    """Encoder, decoder and the scale at which the network sees a tile."""

    encoder: Encoder = "resnet18"
    weights: str = "none"
    stages: Literal[2, 3, 4] = 4
    output_stride: Literal[8, 16] = 16
    decoder_channels: Annotated[int, Field(ge=8, le=512)] = 64
    tile_scale: Annotated[float, Field(gt=0, le=2)] = 1.0


class CamConfig(Section):
    """Scales of the class activation maps."""

    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=4)], ...], Field(min_length=1)] = (
        1.0,
        0.5,
        1.5,
        2.0,
    )


class TrainingConfig(Section):
    """Schedule and optimiser of a run.

    Attributes
    ----------
    batch_size : int or "auto"
        Tiles a step; "auto" is the largest that fits on a CUDA device, 16 on the CPU.
    ema_epochs : float
        Horizon of the moving average of weights and batch statistics, in epochs: that network is scored,
        kept and used for maps and labels; 0 takes the network as its last step left it.
    restart_each_round : bool
        Learning rate, moments and average begin again in each round, which goes on from the network that
        the round before is scored by: a run is then the beginning of one of more rounds, to the bit.
    deterministic : bool
        On CUDA, use algorithms that give the same bits every time, at some cost; the CPU always does.
    """

    warmup_epochs: Annotated[int, Field(ge=0)] = 10
    rounds: Annotated[int, Field(ge=1)] = 3
    epochs_per_round: Annotated[int, Field(ge=1)] = 5
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 16
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    head_factor: Annotated[float, Field(gt=0)] = 3.0
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    poly_power: Annotated[float, Field(ge=0)] = 0.9
    ema_epochs: Annotated[float, Field(ge=0)] = 0.0
    restart_each_round: bool = False
    segmentation_weight: Annotated[float, Field(ge=0)] = 1.0
    classification_weight: Annotated[float, Field(ge=0)] = 1.0
    gain_jitter: Annotated[float, Field(ge=0, lt=1)] = 0.4
    speckle: Annotated[float, Field(ge=0, lt=1)] = 0.1
    break_shadow_direction: bool = False
    deterministic: bool = False

    @property
    def tiles_a_step(self) -> int:
        """The batch size as a number; ValueError while it is still "auto"."""
        if self.batch_size == "auto":
            raise ValueError('batch_size = "auto" has to be settled before a run trains')
        return self.batch_size


class RunConfig(Section):
    """Everything a run needs; paths are relative to the run folder unless absolute."""

    survey: str
    # Where the decoded tiles are kept; runs of one survey and scale share them.
    tiles: str = "tiles"
    background: str | None = None
    sonar: SonarGeometry = SonarGeometry()
    network: NetworkConfig = NetworkConfig()
    cam: CamConfig = CamConfig()
    training: TrainingConfig = TrainingConfig()
    scaling: GreyScaling | None = None
    stage: Literal["full", "warm-up", "self-training"] = "full"
    warm_up: str | None = None
    first_pseudo_labels: str | None = None
    supervision: Supervision = "labels"
    crf: CrfParameters = CrfParameters()
    engine: EngineName = "auto"
    loss: LossConfig = LossConfig()
    seed: Annotated[int, Field(ge=0, lt=2**43)] = 0
    device: str = "auto"
    # Runs that are to share the device: `batch_size = "auto"` leaves them their part of its memory.
    runs_per_device: Annotated[int, Field(ge=1)] = 1

    def path(self, run_dir: Path, value: str) -> Path:
        """Resolve a path of this configuration against its run folder."""
        return (run_dir / value).resolve()
