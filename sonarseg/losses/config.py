"""Which loss trains the decoder, and its parameters; read without torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

LossName = Literal["cross-entropy", "focal", "lovasz_softmax"]
FREQUENCY_FLOOR = 1e-3


class LossConfig(BaseModel):
    """The loss of the decoder.

    Attributes
    ----------
    name : {"cross-entropy", "focal", "lovasz_softmax"}
        The loss.
    gamma : float
        Focusing exponent of the focal loss, 0 or more; 0 for every other loss.
    alpha : float
        Exponent in 0..1 of the class weights, see `focal_alpha`: 0 weighs all classes alike,
        1 weighs them by inverse frequency. Focal and cross-entropy take it, Lovász-Softmax does not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: LossName = "cross-entropy"
    gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _no_parameter_without_effect(self) -> Self:
        """Refuse a parameter that the chosen loss would silently ignore."""
        if self.name != "focal" and self.gamma != 0:
            raise ValueError(f"gamma = {self.gamma:g} has no effect with {self.name}: leave it out or use focal")
        if self.name == "lovasz_softmax" and self.alpha != 0:
            raise ValueError(f"alpha = {self.alpha:g} has no effect with lovasz_softmax: leave it out")
        return self


def focal_alpha(frequencies: NDArray[np.floating], alpha: float) -> NDArray[np.float64]:
    """Class weights ``f_c^-alpha / sum_k f_k^(1 - alpha)``.

    The denominator makes the mean weight of a pixel 1 (``sum_c f_c * alpha_c = 1``), so that alpha
    moves weight between classes and leaves the size of the loss, hence the learning rate, alone.

    Parameters
    ----------
    frequencies : ndarray, float (K,)
        Share of each class among the labelled pixels; floored at 1e-3, then scaled to the sum 1,
        so that a class that the pseudo-labels hardly show gets a large weight, not an endless one.
    alpha : float
        Exponent in 0..1.

    Returns
    -------
    ndarray, float64 (K,)
        All ones where alpha is 0.

    Raises
    ------
    ValueError
        Where a frequency is negative or not finite, or alpha is outside 0..1.
    """
    shares = floored_frequencies(frequencies)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}, outside 0..1")
    weights: NDArray[np.float64] = shares**-alpha / np.sum(shares ** (1 - alpha))
    return weights


def floored_frequencies(frequencies: NDArray[np.floating]) -> NDArray[np.float64]:
    """Class shares, float64 (K,), of sum 1, none of them zero.

    Raises
    ------
    ValueError
        Where a frequency is negative or not finite.
    """
    shares = np.asarray(frequencies, dtype=np.float64)
    if shares.ndim != 1 or not np.all(np.isfinite(shares)) or np.any(shares < 0):
        raise ValueError(f"class frequencies must be finite and not negative, a value a class: {frequencies}")
    floored = np.maximum(shares, FREQUENCY_FLOOR)
    return np.asarray(floored / floored.sum())
