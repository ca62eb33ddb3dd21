"""The configuration of a run: what `RUN_DIR/config.json` holds.

The sections are shared with `study.toml`, so that a trial, the warm-up and a lone run
are described by the same words.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sonarseg.densecrf.engines.base import EngineName
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.losses.config import LossConfig
from sonarseg.survey.scaling import GreyScaling

Encoder = (
    Literal["resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v3_large", "efficientnet_lite0"]
    | Annotated[str, Field(pattern=r"^timm:\S+$", title='"timm:NAME"')]
)
CamLoss = Literal["binary", "candidate"]
CamForm = Literal["tile-max", "survey-max", "softmax"]
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
    """Encoder, decoder and the scale at which the network sees a tile.

    Attributes
    ----------
    encoder_training : {"end-to-end", "frozen", "fine-tune"}
        A frozen encoder gives the features of its weights, which are computed once for all runs of a
        survey: two small heads are trained on them in seconds. Needs weights. `stages` and
        `output_stride` have no say. "fine-tune" does the same, but after the warm-up the encoder learns
        for `fine_tune_epochs` epochs of pictures; then it is frozen again, with new features.
    cell : int
        Side of the cells of a frozen encoder's features, pixels of the tile as the network sees it.
    local_statistics : bool
        Whether local statistics of the amplitude are added to a frozen encoder's features.
    branch_channels : int or None
        Width of the classification branch on a frozen encoder's features; None is that of the decoder.
    feature_gb : float
        Gigabytes (10^9 bytes) that the features of a split may take on disk; those of more tiles are computed
        whenever they are needed.
    """

    encoder: Encoder = "resnet18"
    weights: str = "none"
    encoder_training: Literal["end-to-end", "frozen", "fine-tune"] = "end-to-end"
    stages: Literal[2, 3, 4] = 4
    output_stride: Literal[8, 16] = 16
    decoder_channels: Annotated[int, Field(ge=8, le=512)] = 64
    tile_scale: Annotated[float, Field(gt=0, le=2)] = 1.0
    cell: Annotated[int, Field(ge=1, le=64)] = 8
    local_statistics: bool = True
    branch_channels: Annotated[int, Field(ge=8, le=512)] | None = None
    feature_gb: Annotated[float, Field(ge=0)] = 4.0

    @property
    def frozen(self) -> bool:
        """Whether rounds train two small heads on features of an encoder that does not learn meanwhile."""
        return self.encoder_training != "end-to-end"

    @property
    def fine_tuned(self) -> bool:
        """Whether that encoder learns for some epochs after the warm-up."""
        return self.encoder_training == "fine-tune"

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.frozen and self.weights == "none":
            raise ValueError(
                f'encoder_training = "{self.encoder_training}" needs an encoder that has learned: '
                'write weights = "imagenet" or the path of a weights file, or encoder_training = "end-to-end"'
            )
        return self


class CamConfig(Section):
    """Loss of the classification branch, and form and scales of its class activation maps.

    Attributes
    ----------
    setting : "paper" or None
        A named setting as a whole: "paper" is w-s3Tseg's pipeline, from which no other field may differ, and
        which has neither a frozen encoder nor averaged weights, rounds that begin again or labels that the
        decoder gives.
    loss : {"binary", "candidate"}
        "binary" teaches each class by itself on pooled features; under "candidate" the shown classes
        compete for each cell, the background too.
    form : {"tile-max", "survey-max", "softmax"}
        Maps of a class divided by their maximum in the tile, by the largest one among the train tiles,
        or a softmax over the shown classes.
    scales : tuple of float
        Factors of a tile's sides; the maps are summed.
    presence_weight : float
        "candidate": weight lambda of the term by which each shown class is somewhere in the tile.
    top_share : float
        "candidate": share q of a tile's cells in which that term looks for a class.
    object_top_share : float
        "candidate": the same for the other classes if there is a background.
    temperature : float
        "candidate": below 1 each cell makes up its mind more strongly.
    """

    setting: Literal["paper"] | None = None
    loss: CamLoss = "binary"
    form: CamForm = "tile-max"
    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=4)], ...], Field(min_length=1)] = (
        1.0,
        0.5,
        1.5,
        2.0,
    )
    presence_weight: Annotated[float, Field(ge=0, le=10)] = 1.0
    top_share: Annotated[float, Field(gt=0, le=1)] = 0.3
    object_top_share: Annotated[float, Field(gt=0, le=1)] = 0.15
    temperature: Annotated[float, Field(gt=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.setting == "paper":
            for name, value in _PAPER_CAM.items():
                if getattr(self, name) != value:
                    raise ValueError(
                        f'setting = "paper" stands for {_assigned(_PAPER_CAM)}: '
                        f"leave out {_assigned({name: getattr(self, name)})}, or the setting"
                    )
        if self.form == "softmax" and self.loss != "candidate":
            raise ValueError(
                'form = "softmax" needs classes that compete: '
                'write loss = "candidate", or form = "tile-max" or "survey-max"'
            )
        return self

    @property
    def scores_background(self) -> bool:
        """Whether the branch learns the background, so that its maps score it."""
        return self.loss == "candidate"

    def constant_background(self, background_id: int | None) -> int | None:
        """The background class if a constant score has to stand for it, as the branch does not learn it."""
        return None if self.scores_background else background_id


def check_paper(network: NetworkConfig, cam: CamConfig, training: TrainingConfig) -> None:
    """Refuse (ValueError) what the paper's pipeline as a whole does not have."""
    if cam.setting != "paper":
        return
    wrong = {
        "network.encoder_training": (network.encoder_training, "end-to-end"),
        **{f"training.{name}": (getattr(training, name), value) for name, value in _PAPER_TRAINING.items()},
    }
    for name, (found, value) in wrong.items():
        if found != value:
            raise ValueError(
                f'{_assigned({name: found})} is wrong with cam.setting = "paper", '
                f"w-s3Tseg's pipeline as a whole: write {_assigned({name: value})}, or leave out the setting"
            )


def check_one_scale(network: NetworkConfig, cam: CamConfig) -> None:
    """Refuse (ValueError) maps of several scales with a frozen encoder, whose features are of one."""
    if network.frozen and cam.scales != (1.0,):
        raise ValueError(
            f"cam.scales = {list(cam.scales)} is wrong with "
            f'network.encoder_training = "{network.encoder_training}", '
            "whose features are of one scale: write scales = [1.0]"
        )


# What CAMs are made of unless a run says otherwise
DEFAULT_CAM = CamConfig()
_PAPER_TRAINING: dict[str, Any] = {"ema_epochs": 0.0, "restart_each_round": False, "labels_from": "cam"}
_PAPER_CAM: dict[str, Any] = {"loss": "binary", "form": "tile-max", "scales": (1.0, 0.5, 1.5, 2.0)}


def _assigned(values: dict[str, Any]) -> str:
    """Settings as a file has them."""
    texts = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


class TrainingConfig(Section):
    """Schedule and optimiser of a run.

    Attributes
    ----------
    batch_size : int or "auto"
        Tiles a step; "auto" is the largest that fits on a CUDA device, 16 on the CPU.
    warmup_rate : float or None
        Learning rate of the classification branch in the warm-up; None is learning_rate times head_factor.
    fine_tune_epochs : int
        Epochs in which the encoder and both heads learn from pictures, between warm-up and first round, under
        `encoder_training = "fine-tune"`. They teach the classification branch its labels; with
        `supervision = "masks"` the decoder learns the masks as well.
    fine_tune_rate : float
        Learning rate of the encoder in these epochs; the heads learn 5 times as fast.
    ema_epochs : float
        Horizon of the moving average of weights and batch statistics, in epochs: that network is scored,
        kept and used for maps and labels; 0 takes the network as its last step left it.
    restart_each_round : bool
        Learning rate, moments and average begin again in each round, which goes on from the network that
        the round before is scored by: a run is then the beginning of one of more rounds, to the bit.
    labels_from : {"cam", "probabilities"}
        What the pseudo-labels of rounds after the first are made of: the CAMs of the classification branch,
        or the decoder's class probabilities among the classes that a tile shows.
    deterministic : bool
        On CUDA, use algorithms that give the same bits every time, at some cost; the CPU always does.
    cuda_graph : bool
        On CUDA, record the step of tiles of one size once and play it again, for which the host does less;
        learning rates are rounded to float32.
    """

    warmup_epochs: Annotated[int, Field(ge=0)] = 10
    warmup_rate: Annotated[float, Field(gt=0)] | None = None
    fine_tune_epochs: Annotated[int, Field(ge=0)] = 4
    fine_tune_rate: Annotated[float, Field(gt=0)] = 1e-3
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
    labels_from: Literal["cam", "probabilities"] = "cam"
    segmentation_weight: Annotated[float, Field(ge=0)] = 1.0
    classification_weight: Annotated[float, Field(ge=0)] = 1.0
    gain_jitter: Annotated[float, Field(ge=0, lt=1)] = 0.4
    speckle: Annotated[float, Field(ge=0, lt=1)] = 0.1
    break_shadow_direction: bool = False
    deterministic: bool = False
    cuda_graph: bool = False

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
    # Whether summary.json tells at the end what the maps of val are worth as pseudo-labels.
    score_maps: bool = False
    supervision: Supervision = "labels"
    crf: CrfParameters = CrfParameters()
    engine: EngineName = "auto"
    loss: LossConfig = LossConfig()
    seed: Annotated[int, Field(ge=0, lt=2**43)] = 0
    device: str = "auto"
    # Runs that are to share the device: `batch_size = "auto"` leaves them their part of its memory.
    runs_per_device: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        check_one_scale(self.network, self.cam)
        check_paper(self.network, self.cam, self.training)
        return self

    def path(self, run_dir: Path, value: str) -> Path:
        """Resolve a path of this configuration against its run folder."""
        return (run_dir / value).resolve()
