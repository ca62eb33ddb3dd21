"""Which engine computes the dense CRF: numba on the CPU, torch on a CUDA device, or pydensecrf.

All three take the same tiles and give the same labels but for pixels whose classes are all but tied.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.progress import Progress, silent

EngineName = Literal["auto", "numba", "torch", "pydensecrf"]
# Imported when they are needed: they take seconds to load.
_MODULES = {
    "numba": "sonarseg.densecrf.engines.numba.engine",
    "torch": "sonarseg.densecrf.engines.torch.engine",
    "pydensecrf": "sonarseg.densecrf.engines.pydensecrf",
}


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
        return self._computed("label_history", tiles, parameters, iterations)

    def last_labels(self, tiles: Sequence[CrfTile], parameters: CrfParameters) -> list[NDArray[np.uint8]]:
        """Labels of each tile after `parameters.iterations`, uint8 (H, W); UserError as `label_histories`."""
        return self._computed("last_labels", tiles, parameters)

    def marginals(self, tiles: Sequence[CrfTile], parameters: CrfParameters) -> list[NDArray[np.float32]]:
        """Class probabilities of each tile, float32 (k, H, W); UserError as `label_histories`."""
        return self._computed("marginals", tiles, parameters)

    def confusions(
        self,
        tiles: Sequence[CrfTile],
        truths: Sequence[NDArray[np.uint8]],
        kept: Sequence[NDArray[np.uint8]],
        parameters: CrfParameters,
        iterations: int,
        num_classes: int,
        names: Sequence[tuple[Hashable, Hashable]] | None = None,
    ) -> list[NDArray[np.int64]]:
        """Confusion matrices of each tile, see `sonarseg.densecrf.history.confusion_histories`.

        The torch engine counts on its device; under their names it keeps the tiles there until
        `keeping_tiles` ends.
        """
        if self.name == "torch":
            import torch

            from sonarseg.densecrf.engines.torch.engine import confusions

            return confusions(
                tiles, truths, kept, parameters, iterations, num_classes, names=names,
                device=torch.device(self.device), deterministic=True,
            )  # fmt: skip
        from sonarseg.densecrf.engines.numba.counting import count_history

        histories = self.label_histories(tiles, parameters, iterations)
        return [
            count_history(history.reshape(len(history), -1), truth.reshape(-1), ids, num_classes)
            for history, truth, ids in zip(histories, truths, kept, strict=True)
        ]

    @property
    def fused(self) -> bool:
        """Whether fused kernels run, which gain from large batches; a CUDA device is tried at first use."""
        if self.name != "torch":
            return False
        import torch

        from sonarseg.densecrf.engines.torch.fused_choice import takes_fused

        return takes_fused(None, torch.device(self.device))

    def fallback_note(self) -> str:
        """Say what had to take the place of the device's own kernels: one sentence, empty if nothing."""
        if self.name != "torch":
            return ""
        import torch

        from sonarseg.densecrf.engines.torch.fused_choice import fallback_note

        return fallback_note(torch.device(self.device))

    @contextmanager
    def keeping_tiles(self) -> Iterator[None]:
        """Free at the end what the device keeps of tiles that have names."""
        try:
            yield
        finally:
            if self.name == "torch":
                from sonarseg.densecrf.engines.torch.placed import forget_tiles

                forget_tiles()

    def _computed(self, what: str, tiles: Sequence[CrfTile], *settings: Any) -> list[Any]:
        """Call a function of the engine's module, which takes all tiles at once under torch, else one."""
        compute = getattr(import_module(_MODULES[self.name]), what)
        if self.name != "torch":
            return [compute(tile, *settings) for tile in tiles]
        import torch

        return list(compute(tiles, *settings, device=torch.device(self.device), deterministic=True))


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
