"""Which engine computes the dense CRF: numba on the CPU, torch on a CUDA device, or pydensecrf.

All three take the same tiles and give the same labels but for pixels whose classes are all but tied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.progress import Progress, silent

EngineName = Literal["auto", "numba", "torch", "pydensecrf"]


@dataclass(frozen=True)
class Engine:
    """An engine and where it runs.

    Attributes
    ----------
    name : {"numba", "torch", "pydensecrf"}
    device : str
        "cpu", or the CUDA device of the torch engine.
    """

    name: Literal["numba", "torch", "pydensecrf"] = "numba"
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.name} on {self.device}"

    @property
    def threads(self) -> bool:
        """Whether tiles gain from threads; those of pydensecrf gain from processes only."""
        return self.name == "numba"

    def label_histories(
        self, tiles: Sequence[CrfTile], parameters: CrfParameters, iterations: int
    ) -> list[NDArray[np.uint8]]:
        """Labels after 0 to `iterations` iterations: uint8 (iterations + 1, H, W) a tile, rows of its scores.

        Raises
        ------
        UserError
            Where a kernel is too narrow for the size of a tile, or a tile too large for the device.
        """
        if self.name == "torch":
            import torch

            from sonarseg.densecrf.engines.torch import engine as torch_engine

            device = torch.device(self.device)
            return torch_engine.label_history(
                tiles, parameters, iterations, device=device, deterministic=True
            )
        if self.name == "numba":
            from sonarseg.densecrf.engines.numba.engine import label_history
        else:
            from sonarseg.densecrf.engines.pydensecrf import label_history
        return [label_history(tile, parameters, iterations) for tile in tiles]

    def last_labels(self, tiles: Sequence[CrfTile], parameters: CrfParameters) -> list[NDArray[np.uint8]]:
        """Labels of each tile after `parameters.iterations`, uint8 (H, W); UserError as `label_histories`."""
        if self.name == "torch":
            import torch

            from sonarseg.densecrf.engines.torch import engine as torch_engine

            device = torch.device(self.device)
            return torch_engine.last_labels(tiles, parameters, device=device, deterministic=True)
        if self.name == "numba":
            from sonarseg.densecrf.engines.numba.engine import last_labels
        else:
            from sonarseg.densecrf.engines.pydensecrf import last_labels
        return [last_labels(tile, parameters) for tile in tiles]

    def marginals(self, tiles: Sequence[CrfTile], parameters: CrfParameters) -> list[NDArray[np.float32]]:
        """Class probabilities of each tile, float32 (k, H, W); UserError as `label_histories`."""
        if self.name == "torch":
            import torch

            from sonarseg.densecrf.engines.torch import engine as torch_engine

            device = torch.device(self.device)
            return torch_engine.marginals(tiles, parameters, device=device, deterministic=True)
        if self.name == "numba":
            from sonarseg.densecrf.engines.numba.engine import marginals
        else:
            from sonarseg.densecrf.engines.pydensecrf import marginals
        return [marginals(tile, parameters) for tile in tiles]


DEFAULT_ENGINE = Engine()


def make_ready(engine: Engine, channels: int, progress: Progress = silent, *, num_classes: int = 16) -> None:
    """Load the compiled engine; where it is not compiled on this machine yet, say so and compile it.

    Parameters
    ----------
    channels : int
        Of the survey's images: 1 or 3.
    progress : Progress
        Told of the wait, where there is one.
    num_classes : int
        The most classes that a tile may have.
    """
    if engine.name != "numba":
        return
    from sonarseg.densecrf.engines.numba.engine import compile_engine, is_compiled

    wait = not is_compiled(channels, num_classes)
    if wait:
        progress("dense CRF engine", 0, 1, "compiled once for a machine, which takes up to half a minute")
    compile_engine(channels, num_classes)
    if wait:
        progress("dense CRF engine", 1, 1, str(engine))


def pick_engine(name: EngineName = "auto", device: str = "auto") -> Engine:
    """Choose the engine: "auto" is torch where `device` is a CUDA device, else numba.

    Parameters
    ----------
    name : {"auto", "numba", "torch", "pydensecrf"}
    device : str
        As `sonarseg.training.device.pick_device` takes it.

    Raises
    ------
    UserError
        Where the device is not there.
    """
    if name == "pydensecrf":
        return Engine("pydensecrf")
    if name == "numba":
        return Engine("numba")
    from sonarseg.training.device import pick_device

    where = pick_device(device)
    return Engine("torch", str(where)) if name == "torch" or where.type == "cuda" else Engine("numba")
