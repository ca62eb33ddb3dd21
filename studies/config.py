"""What `study.toml` holds, and where in the file a wrong field stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from objectives.map_space import MOST_NAMED_MAPS
from objectives.records.map_ranking import FINALISTS
from objectives.records.ranking import LOSSES
from objectives.space import NAMED_LOSSES, CrfRanges, SamplerName
from sonarseg.densecrf.engines.base import EngineName
from sonarseg.errors import UserError
from sonarseg.files.setting_errors import setting_error, strictly, wrong_setting
from sonarseg.files.settings import read_settings
from sonarseg.training.config import (
    CamConfig,
    NetworkConfig,
    Section,
    SonarGeometry,
    TrainingConfig,
    check_one_scale,
    check_paper,
)

STUDY_TOML = "study.toml"


class CrfStudyConfig(CrfRanges):
    """Budget and search space of the crf study, and how its trials are computed.

    Attributes
    ----------
    trials : int
        Trials of the whole study, the named first ones included.
    sampler : {"auto", "tpe", "gp", "cmaes", "nsga2", "random", "qmc", "grid"}
        What proposes the next trial.
    patience : int or None
        Stop after so many trials without a better value.
    engine : {"auto", "numba", "torch", "pydensecrf"}
        What computes the dense CRF, in trials and in runs; "auto" is torch on a CUDA device, but a
        crf study takes numba if it measures that to be faster there; else numba.
    race : bool
        End a trial once the tiles scored so far show that it cannot win.
    weigh_seconds : bool
        Search for settings that are good and fast: the second objective is the CRF's seconds a tile.
    """

    trials: Annotated[int, Field(ge=1)] = 200
    sampler: SamplerName = "auto"
    patience: Annotated[int, Field(ge=1)] | None = None
    engine: EngineName = "auto"
    race: bool = True
    weigh_seconds: bool = False

    @model_validator(mode="after")
    def _check_sampler(self) -> Self:
        if self.weigh_seconds and self.sampler == "cmaes":
            raise ValueError(
                'sampler = "cmaes" searches for one value, weigh_seconds = true for two: use another sampler '
                '("auto", "tpe", "gp", "nsga2", "random", "qmc" or "grid"), or weigh_seconds = false'
            )
        return self


class CamStudyConfig(CamConfig):
    """Class activation maps, and the budget of the cam study, which searches their settings.

    Attributes
    ----------
    trials : int
        Trials of the whole study, the named first ones and the repetitions included; 0 searches nothing: the
        maps are made as the other fields say.
    sampler : {"auto", "tpe", "gp", "cmaes", "nsga2", "random", "qmc"}
        What proposes the next trial.
    patience : int or None
        Stop after so many trials without a better value.
    seeds : int
        Runs with different seeds that the best settings get, inside the budget.
    """

    trials: Annotated[int, Field(ge=0)] = 0
    sampler: Literal["auto", "tpe", "gp", "cmaes", "nsga2", "random", "qmc"] = "auto"
    patience: Annotated[int, Field(ge=1)] | None = None
    seeds: Annotated[int, Field(ge=1)] = 3

    @property
    def maps(self) -> CamConfig:
        """The settings of the maps alone, as a run has them."""
        return CamConfig.model_validate({name: getattr(self, name) for name in CamConfig.model_fields})

    @model_validator(mode="after")
    def _check_study(self) -> Self:
        if self.trials and self.setting is not None:
            raise ValueError(
                f'setting = "{self.setting}" holds what trials = {self.trials} would search: '
                "write trials = 0, or leave out the setting"
            )
        least = MOST_NAMED_MAPS + FINALISTS * (self.seeds - 1)
        if 0 < self.trials < least:
            raise ValueError(
                f"seeds = {self.seeds} needs trials = {least} or more: {MOST_NAMED_MAPS} named settings and "
                f"{self.seeds - 1} more runs of the best {FINALISTS}; or write trials = 0"
            )
        return self


class LossStudyConfig(Section):
    """Budget of the loss study.

    Attributes
    ----------
    trials : int
        Trials of the whole study, the named first ones and the repetitions included.
    sampler : {"auto", "tpe", "gp", "cmaes", "random", "qmc", "grid"}
        What proposes the next trial.
    patience : int or None
        Stop after so many trials without a better value.
    runs_per_device : int
        Runs that share a GPU.
    seeds : int
        Runs with different seeds that the best setting of every loss gets, inside the budget.
    prune : bool
        End hopeless runs early.
    """

    trials: Annotated[int, Field(ge=1)] = 9
    sampler: SamplerName = "auto"
    patience: Annotated[int, Field(ge=1)] | None = None
    runs_per_device: Annotated[int, Field(ge=1, le=16)] = 1
    seeds: Annotated[int, Field(ge=1)] = 1
    prune: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        least = len(NAMED_LOSSES) + len(LOSSES) * (self.seeds - 1)
        if self.seeds > 1 and self.trials < least:
            raise ValueError(
                f"seeds = {self.seeds} needs trials = {least} or more: {len(NAMED_LOSSES)} named settings "
                f"and {self.seeds - 1} more runs of the best of {len(LOSSES)} losses"
            )
        return self


def _known_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError(f'"{name}" is not a device: use "auto", "cpu", "cuda" or "cuda:N"')
    return name


class StudyConfig(Section):
    """Everything that `study.toml` says; `survey` is relative to the workspace or absolute."""

    name: Annotated[str, Field(min_length=1)]
    survey: Annotated[str, Field(min_length=1)]
    background: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    device: Annotated[str, AfterValidator(_known_device)] = "auto"
    metric: Literal["miou_multiclass", "miou"] = "miou_multiclass"
    sonar: SonarGeometry = SonarGeometry()
    network: NetworkConfig = NetworkConfig()
    cam: CamStudyConfig = CamStudyConfig()
    training: TrainingConfig = TrainingConfig()
    crf: CrfStudyConfig = CrfStudyConfig()
    loss: LossStudyConfig = LossStudyConfig()

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        try:
            check_one_scale(self.network, self.cam)
        except ValueError as error:
            raise setting_error(("cam", "scales"), str(error)) from error
        try:
            check_paper(self.network, self.cam, self.training)
        except ValueError as error:
            raise setting_error(("cam", "setting"), str(error)) from error
        return self

    @model_validator(mode="after")
    def _check_training(self) -> Self:
        if self.training.warmup_epochs < 1:
            raise setting_error(
                ("training", "warmup_epochs"),
                "training.warmup_epochs = 0 is wrong: expected 1 or more, since the maps that every trial "
                "starts from are those of the trained classification branch",
            )
        return self


def load_study_config(path: Path) -> StudyConfig:
    """Read and check a study.toml.

    Raises
    ------
    UserError
        Where the file is missing, is not TOML, or a field is wrong; the line is named.
    """
    try:
        values, text = read_settings(path)
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: make a workspace with `sonarseg init SURVEY`, or name another folder."
        ) from error
    try:
        return strictly(StudyConfig, values)
    except ValidationError as error:
        wrong = wrong_setting(StudyConfig, error, STUDY_TOML)
        line = find_line(text, list(wrong.keys))
        raise UserError(f"{path}, line {line}: {wrong.problem}.") from error


def find_line(text: str, keys: list[str]) -> int:
    """Line, from 1, where a field of a TOML text stands.

    Parameters
    ----------
    text : str
        Valid TOML.
    keys : list of str
        The field's section names and its own name, outermost first.

    Returns
    -------
    int
        The line of the field; of its section where the field is not written; else 1.
    """
    section: list[str] = []
    best_line, best_depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*([^\[\]]+?)\s*\]+", line)
        assignment = re.match(r"\s*([\w\"'.\- ]+?)\s*=", line)
        if header:
            section = _split_key(header.group(1))
            place = section
        elif assignment:
            place = section + _split_key(assignment.group(1))
        else:
            continue
        if place == keys[: len(place)] and len(place) > best_depth:
            best_line, best_depth = number, len(place)
    return best_line


def _split_key(key: str) -> list[str]:
    return [part.strip().strip("\"'") for part in key.split(".")]
