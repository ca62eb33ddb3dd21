"""The optimiser's side of a run: one epoch of multi-task training, and its state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.features.network import FrozenNetwork
from sonarseg.ignore import IGNORE
from sonarseg.losses.build import Loss
from sonarseg.survey.pixel_store import PixelStore
from sonarseg.training.averaging import AveragedNetwork
from sonarseg.training.batch_counters import counted_together
from sonarseg.training.branch_loss import branch_loss
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.config import RunConfig
from sonarseg.training.data.augmentation import draw_augmentation
from sonarseg.training.data.feed import feed_of, stream
from sonarseg.training.data.sampling import balanced_epoch, single_class_epoch
from sonarseg.training.data.tiles import Tiles
from sonarseg.training.device import autocast, needs_scaler
from sonarseg.training.freed_memory import keep_freed_memory
from sonarseg.training.optimiser import new_optimiser
from sonarseg.training.schedule import WARM_UP, Epoch, branch_progress, learning_rate_factor
from sonarseg.training.step_graph import StepGraph
from sonarseg.training.step_guard import StepGuard

# cuDNN and the allocator meet every new shape of a batch with a search: tiles of many sizes give few shapes.
CUDA_SIDES = 32


@dataclass(frozen=True)
class EpochLosses:
    """Means over the tiles of an epoch; the segmentation loss is None if the decoder did not learn.

    Steps that were left out, because loss or gradient was not finite, count as 0 in the means.
    """

    segmentation: float | None
    classification: float
    learning_rate: float
    skipped_steps: int


class Trainer:
    """Trains a model epoch by epoch.

    Parameters
    ----------
    model : Model
        The network is trained in place.
    tiles : Tiles
        The train tiles.
    labelled : bool (K,)
        Classes that image-level labels speak of.
    config : RunConfig
        Schedule, losses' weights, seed.
    stage : str
        The stage that comes first.

    Attributes
    ----------
    tiles : Tiles
        Those that the coming epochs are trained on.
    for_use : Model
        What is scored, kept and used for labels and maps: the model itself, or with `ema_epochs` its average.
    """

    def __init__(
        self, model: Model, tiles: Tiles, labelled: Tensor, config: RunConfig, stage: str = WARM_UP
    ) -> None:
        self.model = model
        self.tiles = tiles
        self.branch = branch_loss(config.cam, labelled, tiles.shown, model.background_id)
        self.config = config
        if model.device.type == "cpu":
            keep_freed_memory()
        self._shown = torch.from_numpy(tiles.shown).float()
        self.guard = StepGuard(model.network, model.device)
        epochs = config.training.ema_epochs
        self._average = AveragedNetwork(model.network, epochs) if epochs else None
        self.for_use = model if self._average is None else replace(model, network=self._average.network)
        self._step_listeners: list[Callable[[], None]] = []
        self._scaler = torch.amp.GradScaler(model.device.type, enabled=needs_scaler(model.device))
        self._generator = torch.Generator(model.device)
        self._graph: StepGraph | None = None
        if config.training.cuda_graph and not self._scaler.is_enabled():
            self._graph = StepGraph(model.device, self._generator)
        self._enter(stage)

    def _enter(self, stage: str) -> None:
        """Have learn, and be averaged, what learns in a stage."""
        device = self.model.device
        self.optimiser = new_optimiser(self.model, self.config.training, stage)
        self._base_rates = [group["lr"] for group in self.optimiser.param_groups]
        if self._average is not None:
            self._average.follow()
        self._rates: list[Tensor] = []
        if self._graph is not None:
            self._graph.forget()
            # A recorded step reads them on the device; of the fused optimiser, CUDA takes float32.
            exact = torch.float32 if device.type == "cuda" else torch.float64
            self._rates = [torch.zeros((), dtype=exact, device=device) for _ in self._base_rates]

    def call_after_step(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after every step, behind those that are called already.

        What it raises ends the epoch.
        """
        self._step_listeners.append(listener)

    def restart(self, stage: str) -> None:
        """Begin a stage, or a round, of its own: no moments, and the network that is used so far."""
        if self._average is not None:
            self._average.restart()
            self.guard.keep()
        self._enter(stage)

    def state(self) -> dict[str, Any]:
        """What the checkpoint keeps beside the network that is used, so that training can go on."""
        return {
            "optimiser": self.optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "guard": self.guard.state(),
            **({"average": self._average.state()} if self._average is not None else {}),
        }

    def load_state(self, state: dict[str, Any], used: dict[str, Tensor], stage: str) -> None:
        """Take up the state that a checkpoint keeps of a stage, and the network in it that is used."""
        self._enter(stage)
        if self._average is None:
            self.model.network.load_state_dict(used)
        else:
            self._average.load_state(state["average"], used)
        self.optimiser.load_state_dict(state["optimiser"])
        # Empty, where the run began on a chip that needs no scaler.
        if state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        self.guard.load_state(state["guard"])

    def train_epoch(
        self, epoch: Epoch, targets: PixelStore | None, segmentation_loss: Loss | None
    ) -> EpochLosses:
        """Train one epoch.

        All randomness comes from the seed and the epoch's number, so that a resumed run draws
        what the uninterrupted one would have drawn.

        Parameters
        ----------
        epoch : Epoch
            Where in the run this epoch stands.
        targets : PixelStore of uint8 (1, h, w), or None
            Pseudo-labels at the network's scale; None if the decoder does not learn.

        Raises
        ------
        RunFailed
            Where loss or gradient are not finite too often.
        """
        device = self.model.device
        seed = self.config.seed * 1_000_003 + epoch.number
        torch.manual_seed(seed)
        self._generator.manual_seed(seed)
        batches = self.batches(epoch)
        # One copy an epoch, for which alone the device is waited for
        order = [index for batch in batches for index in batch]
        shown = torch.split(self._shown[order].to(device), [len(batch) for batch in batches])
        feeds = [feed_of(self.tiles.seen, device)]
        if targets is not None:
            feeds.append(feed_of(targets, device, fill=IGNORE))
        self.model.network.train()
        sums = torch.zeros(2, device=device)
        # Shapes of cells need no rounding: their convolutions are small. Pictures of which cells are targets
        # must be padded as these are.
        rounded = device.type == "cuda" and not self.config.network.frozen
        multiple = CUDA_SIDES if rounded else 1
        parts_of = stream(feeds, batches, multiple)
        with counted_together(self.model.network) as steps:
            for step, (batch, parts) in enumerate(zip(batches, parts_of, strict=True)):
                self._set_learning_rate(epoch, step, len(batches))
                progress = branch_progress(epoch, step, len(batches))
                take = partial(self._take_step, segmentation_loss, progress)
                inputs = [*parts, shown[step]]
                if self._graph is not None and self._is_recorded(epoch, batch):
                    losses = self._graph.take((epoch.stage, epoch.round), take, inputs)
                else:
                    losses = take(*inputs)
                steps.count += 1
                if self._average is not None:
                    self._average.after_step(len(batches))
                sums += len(batch) * self.guard.finite_part(losses)
                self.guard.after_step(epoch.number)
                for listener in self._step_listeners:
                    listener()
        skipped = self.guard.end_epoch(epoch.number)
        drawn = sum(len(batch) for batch in batches)
        classification_mean, segmentation_mean = (sums / max(1, drawn)).tolist()
        return EpochLosses(
            None if targets is None else segmentation_mean,
            classification_mean,
            float(self.optimiser.param_groups[0]["lr"]),
            skipped,
        )

    def _is_recorded(self, epoch: Epoch, batch: list[int]) -> bool:
        """Whether the step is like the others of its stage and round, but for what it is given."""
        stores = (self.tiles.seen, self.tiles.pictures)
        one_shape = all(store.common_shape is not None for store in stores)
        # Its branch draws cells on the host, which a recorded step would not.
        one_shape &= not isinstance(self.model.network, FrozenNetwork)
        constant = self.config.cam.loss == "binary" or epoch.stage != WARM_UP
        return one_shape and constant and len(batch) == self.config.training.tiles_a_step

    def _take_step(self, segmentation_loss: Loss | None, progress: float, *inputs: Tensor) -> Tensor:
        """Take a step with pictures, perhaps targets, and shown classes; give the losses of both branches."""
        *parts, shown = inputs
        seen, target = self._augmented(parts, self._generator)
        classification, segmentation = self._losses(seen, target, shown, segmentation_loss, progress)
        training = self.config.training
        self._step(
            training.classification_weight * classification + training.segmentation_weight * segmentation
        )
        return torch.stack([classification, segmentation]).detach()

    def batches(self, epoch: Epoch) -> list[list[int]]:
        """Draw the tiles of an epoch, step by step."""
        single_only = self.config.supervision == "single-label" and epoch.round > 0
        draw = single_class_epoch if single_only else balanced_epoch
        return self._batches(draw(self.tiles.multiclass, seed=self.config.seed, epoch=epoch.number))

    def _batches(self, order: NDArray[np.int64]) -> list[list[int]]:
        size = self.config.training.tiles_a_step
        if isinstance(self.model.network, FrozenNetwork):
            return self._batches_of_one_size(order.tolist(), size)
        batches = [order[i : i + size].tolist() for i in range(0, len(order), size)]
        if len(batches) > 1 and len(batches[-1]) == 1:
            # One tile is too few for batch statistics; it joins the batch before.
            last = batches.pop()
            batches[-1] += last
        return batches

    def _batches_of_one_size(self, order: list[int], size: int) -> list[list[int]]:
        """Batches of tiles that need no padding, whose cells the branch would take for the tile's own."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for place, index in enumerate(order):
            by_shape.setdefault(tuple(self.tiles.seen.shapes[index].tolist()), []).append(place)
        groups = [same[i : i + size] for same in by_shape.values() for i in range(0, len(same), size)]
        return [[order[place] for place in group] for group in sorted(groups)]

    def _augmented(self, parts: Sequence[Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Images float32 (B, C, H, W) in 0..1, and the target int64 (B, H, W) where there is one.

        Features of a frozen encoder stay as they are.
        """
        if self.tiles.features is not None:
            return parts[0], parts[1][:, 0].long() if len(parts) > 1 else None
        images = parts[0].float() / 255
        drawn = draw_augmentation(images.shape, self.config.sonar, self.config.training, generator)
        target = drawn.of_target(parts[1][:, 0]).long() if len(parts) > 1 else None
        return drawn.of_images(images), target

    def _losses(
        self,
        seen: Tensor,
        target: Tensor | None,
        shown: Tensor,
        segmentation_loss: Loss | None,
        progress: float,
    ) -> tuple[Tensor, Tensor]:
        network = self.model.network
        with autocast(self.model.device):
            if self.tiles.features is not None:
                features = self.model.encode(seen)
            else:
                features = network.encode(self.model.normalisation(seen))
            class_logits = self.branch.logits(network, features)
            logits = None
            if target is not None:
                logits = network.decode(features, (target.shape[1], target.shape[2]))
        classification = self.branch.loss(class_logits.float(), shown, progress)
        if logits is None or target is None or segmentation_loss is None:
            return classification, torch.zeros((), device=seen.device)
        return classification, segmentation_loss(logits.float(), target)

    def _set_learning_rate(self, epoch: Epoch, step: int, steps: int) -> None:
        factor = learning_rate_factor(epoch, step, steps, self.config.training.poly_power)
        for place, (group, base) in enumerate(
            zip(self.optimiser.param_groups, self._base_rates, strict=True)
        ):
            group["lr"] = self._rates[place].fill_(base * factor) if self._rates else base * factor

    def _step(self, loss: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self.model.network.parameters(), self.config.training.clip_norm)
        self.guard.judge(loss, norm, self.optimiser, scaled=self._scaler.is_enabled())
        self._scaler.step(self.optimiser)
        self._scaler.update()
