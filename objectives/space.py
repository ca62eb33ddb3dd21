"""The two search spaces: what a trial may choose, and the settings every study starts with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from objectives.records.ranking import LOSSES, WEIGHTED
from objectives.records.trial import ROUNDS, without_rounds
from sonarseg.cam.hard_labels import DEFAULT_BACKGROUND_SCORE
from sonarseg.densecrf.parameters import HIGHEST, MOST_ITERATIONS, CrfParameters, Width
from sonarseg.densecrf.published import PUBLISHED, published
from sonarseg.losses.config import LossConfig
from sonarseg.survey.guide import Guide
from sonarseg.training.config import Section

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

# Samplers that study.toml may name; `objectives.samplers` makes them.
SamplerName = Literal["auto", "tpe", "gp", "cmaes", "nsga2", "random", "qmc", "grid"]


def _ascending(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    if not pair[0] < pair[1]:
        raise ValueError(f"[{pair[0]:g}, {pair[1]:g}] must be [low, high] with low below high")
    return pair


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({*names}) < len(names):
        raise ValueError("names a guide twice: keep one")
    return names


# As a trial takes them: what lies outside could be searched but not computed.
Positive = Annotated[float, Field(gt=0, le=HIGHEST)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=0, le=MOST_ITERATIONS)]
WidthRange = Annotated[tuple[Width, Width], AfterValidator(_ascending)]
Range = Annotated[tuple[Positive, Positive], AfterValidator(_ascending)]
ProbabilityRange = Annotated[tuple[Probability, Probability], AfterValidator(_ascending)]
CountRange = Annotated[tuple[Count, Count], AfterValidator(_ascending)]


class CrfRanges(Section):
    """What the crf study searches: [low, high] of every parameter, and the guide images.

    The defaults reach from hardly any CRF to a very strong one. The published settings are run
    whatever the ranges, so that every study holds its baselines.
    """

    guides: Annotated[tuple[Guide, ...], Field(min_length=1), AfterValidator(_different)] = ("raw", "median")
    sigma_alpha: WidthRange = (2.0, 150.0)
    sigma_beta: WidthRange = (1.0, 60.0)
    sigma_gamma: WidthRange = (1.0, 20.0)
    w_bilateral: Range = (0.01, 30.0)
    w_spatial: Range = (0.01, 30.0)
    iterations: CountRange = (0, 10)
    unary_scale: Range = (0.1, 10.0)
    gt_prob: ProbabilityRange = (0.51, 0.99)
    background_score: ProbabilityRange = (0.05, 0.9)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "raw" not in self.guides:
            raise ValueError('guides must hold "raw", which the published settings use')
        if self.gt_prob[0] <= 0.5:
            raise ValueError(f"gt_prob starts at {self.gt_prob[0]:g}, but hard seeds need more than 0.5")
        return self


# Scales are searched on a logarithmic axis; probabilities and counts on a linear one.
_LOGARITHMIC = ("sigma_alpha", "sigma_beta", "sigma_gamma", "w_bilateral", "w_spatial")


def suggest_crf(trial: BaseTrial, ranges: CrfRanges, has_background: bool) -> CrfParameters:
    """Let a trial choose dense CRF parameters.

    `unary_scale` exists for soft unaries only, `gt_prob` for hard seeds only, `background_score`
    where there is a background class only.
    """
    chosen: dict[str, Any] = {}
    for name in _LOGARITHMIC:
        low, high = getattr(ranges, name)
        chosen[name] = trial.suggest_float(name, low, high, log=True)
    chosen["iterations"] = trial.suggest_int("iterations", *ranges.iterations)
    chosen["guide"] = trial.suggest_categorical("guide", ranges.guides)
    chosen["unary"] = trial.suggest_categorical("unary", ("seeds", "soft"))
    if chosen["unary"] == "soft":
        chosen["unary_scale"] = trial.suggest_float("unary_scale", *ranges.unary_scale, log=True)
    else:
        chosen["gt_prob"] = trial.suggest_float("gt_prob", *ranges.gt_prob)
    if has_background:
        chosen["background_score"] = trial.suggest_float("background_score", *ranges.background_score)
    return CrfParameters.model_validate(chosen)


def crf_params(parameters: CrfParameters, has_background: bool) -> dict[str, Any]:
    """Write CRF parameters as the params of a trial: the inverse of `suggest_crf`."""
    params = parameters.model_dump()
    del params["gt_prob" if parameters.unary == "soft" else "unary_scale"]
    if not has_background:
        del params["background_score"]
    elif params["background_score"] is None:
        params["background_score"] = DEFAULT_BACKGROUND_SCORE
    return params


def named_crf_settings(channels: Literal[1, 3], has_background: bool) -> dict[str, dict[str, Any]]:
    """Params of the untuned settings with which a crf study starts, by name."""
    return {name: crf_params(published(name, channels), has_background) for name in PUBLISHED}


MAX_GAMMA = 5.0
NAMED_LOSSES: dict[str, dict[str, Any]] = {
    "cross-entropy": {"loss": "cross-entropy"},
    # By the definition of alpha_c
    WEIGHTED: {"loss": "focal", "gamma": 0.0, "alpha": 1.0},
    "focal gamma 2": {"loss": "focal", "gamma": 2.0, "alpha": 0.0},
    "Lovász-Softmax": {"loss": "lovasz_softmax"},
}


def suggest_loss(trial: BaseTrial, rounds: int | None = None) -> LossConfig:
    """Let a trial choose the loss; `gamma` and `alpha` exist under focal only.

    Parameters
    ----------
    trial : BaseTrial
    rounds : int, optional
        Rounds of every run, if they are a parameter: one run scores all lower numbers too, so nothing is
        chosen here.
    """
    if rounds is not None:
        trial.suggest_int(ROUNDS, rounds, rounds)
    name = trial.suggest_categorical("loss", LOSSES)
    if name != "focal":
        return LossConfig.model_validate({"name": name})
    gamma = trial.suggest_float("gamma", 0.0, MAX_GAMMA)
    return LossConfig(name="focal", gamma=gamma, alpha=trial.suggest_float("alpha", 0.0, 1.0))


def loss_of_params(params: Mapping[str, Any]) -> LossConfig:
    """Read the loss from the params of a trial, whatever its rounds."""
    values = {"name" if key == "loss" else key: value for key, value in without_rounds(params).items()}
    return LossConfig.model_validate(values)


def setting_text(loss: LossConfig) -> str:
    """Canonical text of a loss and its parameters; runs of one setting differ in the seed only."""
    if loss.name != "focal":
        return loss.name
    return f"focal gamma={loss.gamma:.6g} alpha={loss.alpha:.6g}"
