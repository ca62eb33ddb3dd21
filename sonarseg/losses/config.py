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
        Focusing exponent of the focal loss, 0 or more.
    alpha : float
        Exponent in 0..1 of the class weights of the focal loss, see `focal_alpha`: 0 weighs all
        classes alike, 1 by inverse frequency. Focal with gamma 0 and alpha 1 is class-weighted
        cross-entropy. The other losses take neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: LossName = "cross-entropy"
    gamma: Annotated[float, Field(ge=0)] = 0.0
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _no_parameter_without_effect(self) -> Self:
        """Refuse a parameter that the chosen loss would silently ignore."""
        if self.name != "focal" and (self.gamma != 0 or self.alpha != 0):
            raise ValueError(f"gamma and alpha belong to focal: leave them out with {self.name}")
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
    shares = np.asarray(frequencies, dtype=np.float64)
    if shares.ndim != 1 or not np.all(np.isfinite(shares)) or np.any(shares < 0):
        raise ValueError(f"class frequencies must be finite and not negative, a value a class: {frequencies}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}, outside 0..1")
    floored = np.maximum(shares, FREQUENCY_FLOOR)
    floored /= floored.sum()
    weights: NDArray[np.float64] = floored**-alpha / np.sum(floored ** (1 - alpha))
    return weights
