"""The search space of the cam study: how the classification branch is trained and its maps are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from sonarseg.training.config import CamConfig, NetworkConfig, TrainingConfig

if TYPE_CHECKING:
    from optuna.trial import BaseTrial
    from pydantic import BaseModel

# Which sections of the settings hold the parameters
_NETWORK = ("branch_channels", "local_statistics")
_TRAINING = ("warmup_rate", "warmup_epochs")
PUBLISHED_MAPS = "w-s3Tseg"
CANDIDATE_MAPS = "candidate loss"
AS_CONFIGURED = "study.toml"
MOST_NAMED_MAPS = 3


class HasMaps(Protocol):
    """Settings in whose sections the parameters stand: of a run, or of a study."""

    @property
    def cam(self) -> CamConfig:
        """Loss of the branch and form of its maps."""

    @property
    def network(self) -> NetworkConfig:
        """Width of the branch and its features."""

    @property
    def training(self) -> TrainingConfig:
        """Its schedule."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """Copy with other sections."""


Settings = TypeVar("Settings", bound=HasMaps)
SectionType = TypeVar("SectionType", bound="BaseModel")


@dataclass(frozen=True)
class MapSpace:
    """What a cam trial may choose.

    Attributes
    ----------
    has_background : bool
        Objects on a background have a share of cells of their own.
    frozen : bool
        Width and features of the branch are searched on a frozen encoder only.
    configured : dict
        The params that study.toml stands for.
    """

    has_background: bool
    frozen: bool
    configured: dict[str, Any]


def map_space(settings: HasMaps, background: str | None) -> MapSpace:
    """Make the search space around the settings of a study."""
    cam, network, training = settings.cam, settings.network, settings.training
    params: dict[str, Any] = {"loss": cam.loss}
    if cam.loss == "binary":
        params["binary_form"] = cam.form
    else:
        params |= {name: getattr(cam, name) for name in ("form", "presence_weight", "top_share")}
        if background is not None:
            params["object_top_share"] = cam.object_top_share
        params["temperature"] = cam.temperature
    rate = training.warmup_rate or training.learning_rate * training.head_factor
    params |= {"warmup_rate": rate, "warmup_epochs": training.warmup_epochs}
    if network.frozen:
        params["branch_channels"] = network.branch_channels or network.decoder_channels
        params["local_statistics"] = network.local_statistics
    return MapSpace(background is not None, network.frozen, params)


def suggest_maps(trial: BaseTrial, space: MapSpace) -> dict[str, Any]:
    """Let a trial choose; the constants of the candidate loss exist under it only.

    Returns
    -------
    dict
        The params of the trial.
    """
    chosen: dict[str, Any] = {"loss": trial.suggest_categorical("loss", ("candidate", "binary"))}
    if chosen["loss"] == "binary":
        chosen["binary_form"] = trial.suggest_categorical("binary_form", ("tile-max", "survey-max"))
    else:
        chosen["form"] = trial.suggest_categorical("form", ("softmax", "survey-max", "tile-max"))
        chosen["presence_weight"] = trial.suggest_float("presence_weight", 0.2, 1.0)
        chosen["top_share"] = trial.suggest_float("top_share", 0.15, 0.5)
        if space.has_background:
            chosen["object_top_share"] = trial.suggest_float("object_top_share", 0.05, 0.3)
        chosen["temperature"] = trial.suggest_float("temperature", 0.3, 1.0)
    chosen["warmup_rate"] = trial.suggest_float("warmup_rate", 1e-3, 4e-3, log=True)
    epochs = int(space.configured["warmup_epochs"])
    chosen["warmup_epochs"] = trial.suggest_int("warmup_epochs", max(1, epochs // 2), 2 * epochs)
    if space.frozen:
        chosen["branch_channels"] = trial.suggest_int("branch_channels", 32, 128, log=True)
        chosen["local_statistics"] = trial.suggest_categorical("local_statistics", (True, False))
    return chosen


def named_map_settings(space: MapSpace) -> dict[str, dict[str, Any]]:
    """Params of the untuned settings with which a cam study starts, by name.

    The maps of w-s3Tseg, those of the candidate loss, and those of study.toml if they are neither.
    """
    shared = {name: space.configured[name] for name in (*_TRAINING, *_NETWORK) if name in space.configured}
    default = CamConfig()
    constants = ["presence_weight", "top_share", "temperature"]
    if space.has_background:
        constants.append("object_top_share")
    candidate = {"loss": "candidate", "form": "softmax"} | {
        name: getattr(default, name) for name in constants
    }
    named = {
        PUBLISHED_MAPS: {"loss": "binary", "binary_form": "tile-max", **shared},
        CANDIDATE_MAPS: {**candidate, **shared},
    }
    if space.configured not in named.values():
        named[AS_CONFIGURED] = space.configured
    return named


def with_maps(settings: Settings, params: Mapping[str, Any]) -> Settings:
    """Put the params of a cam trial into the settings of a run, or of a study.

    Raises
    ------
    ValueError
        If a value is not one that such settings may have.
    """
    named = {"form" if name == "binary_form" else name: value for name, value in params.items()}
    network = {name: named.pop(name) for name in _NETWORK if name in named}
    training = {name: named.pop(name) for name in _TRAINING if name in named}
    sections = {
        "cam": _changed(settings.cam, named),
        "network": _changed(settings.network, network),
        "training": _changed(settings.training, training),
    }
    return settings.model_copy(update=sections)


def _changed(section: SectionType, update: Mapping[str, Any]) -> SectionType:
    return type(section).model_validate({**section.model_dump(), **update})


def map_text(params: Mapping[str, Any]) -> str:
    """Canonical text of the params of a cam trial; runs of one setting differ in the seed only."""
    form = params.get("binary_form") or params.get("form")
    rest = [name for name in params if name not in ("loss", "form", "binary_form")]
    return " ".join([f"{params['loss']} {form}", *(f"{name}={_figure(params[name])}" for name in rest)])


def _figure(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).lower()
