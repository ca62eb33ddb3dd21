"""What one crf trial does: refine all tuning tiles with one setting and score the pseudo-labels.

One run of the engine gives the labels after every iteration. The trial's value is that of the number
of iterations it was told; the whole curve is stored with it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np
import optuna
from joblib.externals.loky.process_executor import TerminatedWorkerError
from numpy.typing import NDArray

from objectives.enqueued import suggested
from objectives.outcome import TrialFailed
from objectives.racing import FindIncumbent, Race, counted_tiles, race_order
from objectives.records import attributes as attr
from objectives.records.partial import partial_scores
from objectives.space import CrfRanges, suggest_crf
from objectives.tuning_tiles import TuningTile, class_shares, informative_order
from sonarseg.densecrf.engines.base import DEFAULT_ENGINE, Engine
from sonarseg.densecrf.history import confusion_histories
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.metrics.confusion import pack_confusions
from sonarseg.metrics.iou import METRICS, survey_scores
from sonarseg.processes.pool import worker_pool

# Tiles in one call of an engine that takes batches; races look at the scores between calls.
_BATCH = 16
# Tiles that one call of fused kernels takes at most: until then they lie in the host's memory together.
_LARGEST_BATCH = 256
# Tiles on which the seconds a tile are measured
_TIMED_TILES = 8
# Worker processes end when they had nothing to do for so long.
_IDLE_SECONDS = 60


def no_race() -> None:
    """No incumbent: every trial is scored on all tiles."""


@dataclass(frozen=True)
class CrfObjective:
    """The objective of the crf study.

    Attributes
    ----------
    tiles : sequence of TuningTile
        The tuning tiles, in the order of the stored confusion matrices.
    classes : tuple of str
        The K class names.
    background_id : int or None
        The background class if it gets the constant score, which is then searched.
    ranges : CrfRanges
        The search space.
    metric : str
        The score that is the trial's value, a key of `sonarseg.metrics.iou.METRICS`.
    engine : Engine
        What computes the dense CRF.
    jobs : int
        Threads of the numba engine, processes of pydensecrf.
    incumbent : callable
        Gives the trial to race against, or None for no race.
    seed : int
        Of the study: with a trial's number it gives the order in which the trial's tiles race.
    weigh_seconds : bool
        The seconds that the CRF takes a tile are a second value, lower is better.
    """

    tiles: Sequence[TuningTile]
    classes: tuple[str, ...]
    background_id: int | None
    ranges: CrfRanges
    metric: str
    engine: Engine = DEFAULT_ENGINE
    jobs: int = 1
    incumbent: FindIncumbent = no_race
    seed: int = 0
    weigh_seconds: bool = False

    @cached_property
    def _pixels(self) -> NDArray[np.int64]:
        return np.array([tile.pixels for tile in self.tiles], dtype=np.int64)

    @cached_property
    def _counted(self) -> NDArray[np.bool_]:
        return counted_tiles(np.array([np.diag(row) for row in self._pixels]), self.metric)

    @cached_property
    def _race_shares(self) -> NDArray[np.float64]:
        """Shares of the counted tiles that need a CRF: the others are the same in every trial."""
        needed = np.array([len(tile.kept) >= 2 for tile in self.tiles], dtype=np.bool_)
        return np.where(self._counted & needed, class_shares(self._pixels, self._counted), 0.0)

    @cached_property
    def _constant(self) -> dict[int, NDArray[np.int64]]:
        """Confusion matrices of the tiles that need no CRF."""
        return {
            index: tile.constant_confusion(len(self.classes))
            for index, tile in enumerate(self.tiles)
            if len(tile.kept) < 2
        }

    def histories(self, parameters: CrfParameters, iterations: int) -> NDArray[np.int64]:
        """Confusion matrices (T, iterations + 1, K, K) of the tiles after 0, 1, ... iterations.

        Raises
        ------
        TrialFailed
            Where the system killed a worker process.
        """
        return self._raced(parameters, iterations, range(len(self.tiles)))[0]

    def confusions_of(self, parameters: CrfParameters, tiles: Sequence[int]) -> NDArray[np.int64]:
        """Confusion matrices (N, K, K) of N tiles after the setting's iterations; raises as `histories`."""
        found, _ = self._raced(parameters, parameters.iterations, tiles)
        return found[list(tiles), parameters.iterations]

    def _raced(
        self, parameters: CrfParameters, iterations: int, order: Sequence[int], race: Race | None = None
    ) -> tuple[NDArray[np.int64], list[int]]:
        """Score tiles in order until the race is lost: histories (T, ...), and the tiles that have one."""
        classes = len(self.classes)
        found = np.empty((len(self.tiles), iterations + 1, classes, classes), dtype=np.int64)
        # A setting races with every count that could become a trial, its own included.
        raced = sorted({*self._searched(iterations), parameters.iterations})
        scored = [index for index in order if index in self._constant]
        for index in scored:
            found[index] = self._constant[index]
        for batch, counts in self._scored(parameters, iterations, order, race):
            scored += batch
            for index, history in zip(batch, counts, strict=True):
                found[index] = history
                if race is not None:
                    race.add(index, history[raced])
            if race is not None and race.lost():
                break
        return found, scored

    def _searched(self, longest: int) -> range:
        """Searched numbers of iterations, 0 among them where it is searched, up to `longest`."""
        low, high = self.ranges.iterations
        return range(low, min(high, longest) + 1)

    def _scored(
        self, parameters: CrfParameters, iterations: int, order: Sequence[int], race: Race | None
    ) -> Iterator[tuple[list[int], list[NDArray[np.int64]]]]:
        """Batches and their confusion histories, in order, a few under way ahead of the one asked for.

        Tiles that need no CRF are left out.
        """
        needed = [index for index in order if index not in self._constant]
        waiting: list[tuple[list[int], Future[list[NDArray[np.int64]]]]] = []
        ahead = 1 if self.engine.name == "torch" else self.jobs + 1
        try:
            while needed:
                size = self._batch_size(race)
                batch, needed = needed[:size], needed[size:]
                tiles = [self.tiles[index] for index in batch]
                work = (tiles, parameters, iterations, len(self.classes), self.engine)
                waiting.append((batch, self._executor.submit(score_tiles, *work)))
                if len(waiting) >= ahead:
                    first, future = waiting.pop(0)
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        except TerminatedWorkerError as error:
            self.__dict__.pop("_processes")
            raise TrialFailed(
                "a worker process was killed, as the system does when memory runs out: use fewer jobs."
            ) from error
        finally:
            # What already runs of a pruned trial ends while the next one is being asked for.
            for _, future in waiting:
                future.cancel()

    def _batch_size(self, race: Race | None) -> int:
        """Tiles of the next call: if kernels are fused, all until a race is looked at."""
        if self.engine.name != "torch":
            return 1
        if not self.engine.fused:
            return _BATCH
        until_look = None if race is None else race.until_look()
        return _LARGEST_BATCH if until_look is None else min(_LARGEST_BATCH, max(_BATCH, until_look))

    @property
    def _executor(self) -> Executor:
        return self._processes if self.engine.name == "pydensecrf" else self._threads

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.jobs if self.engine.threads else 1)

    @cached_property
    def _processes(self) -> Executor:
        pool: Executor = worker_pool(self.jobs, _IDLE_SECONDS)
        return pool

    def seconds_a_tile(self, parameters: CrfParameters) -> float:
        """Measure the dense CRF on the most informative tiles, one after the other, alone: the median.

        The seconds are those of one thread; of the clock where the engine is torch.
        """
        clock = time.perf_counter if self.engine.name == "torch" else time.thread_time
        telling = informative_order(self._pixels, self._counted)
        sample = [index for index in telling if index not in self._constant][:_TIMED_TILES]
        taken = [0.0] if not sample else []
        for index in sample:
            tile, _ = self.tiles[index].open(parameters.guide)
            started = clock()
            self.engine.label_histories([tile], parameters, parameters.iterations)
            taken.append(clock() - started)
        return median(taken)

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, float]:
        """Run one trial and return its value, and the seconds a tile where they are weighed.

        Raises
        ------
        optuna.TrialPruned
            Where the tiles scored so far show that the trial cannot win.
        TrialFailed
            Where the metric is undefined or a worker process was killed.
        """
        started = time.monotonic()
        with warnings.catch_warnings():
            # A published setting is run although the person searches narrower ranges.
            warnings.filterwarnings("ignore", message="Fixed parameter")
            parameters = suggested(
                trial, lambda t: suggest_crf(t, self.ranges, self.background_id is not None)
            )
        incumbent = None if trial.user_attrs.get(attr.ENQUEUED) else self.incumbent()
        race = None if incumbent is None else Race(incumbent, self._race_shares)
        longest = parameters.iterations
        if not self.weigh_seconds:
            longest = max(longest, self.ranges.iterations[1])
        # Every trial draws an order of its own: no tile is the first to judge all of them.
        order = race_order(self._race_shares, np.random.default_rng([self.seed, trial.number])).tolist()
        histories, scored = self._raced(parameters, longest, order, race)
        if race is not None and len(scored) < len(self.tiles):
            trial.set_user_attr(
                attr.PARTIAL, partial_scores(scored, histories[scored, parameters.iterations])
            )
            trial.set_user_attr(attr.SECONDS, round(time.monotonic() - started, 3))
            trial.report(race.expected(), race.scored)
            raise optuna.TrialPruned(
                f"after {race.scored} of {race.total} tiles that need a CRF no number of iterations promised "
                f"more than the best trial, {race.incumbent.value:.4f}: {race.expected():.4f} at most."
            )
        curve = [METRICS[self.metric](histories[:, count]) for count in range(longest + 1)]
        value = curve[parameters.iterations]
        if value is None:
            raise TrialFailed(f"{self.metric} is undefined on these tiles: their masks have no valid pixel.")
        confusions = histories[:, parameters.iterations]
        trial.set_user_attr(attr.SCORES, dict(survey_scores(confusions, self.classes)))
        trial.set_user_attr(attr.CONFUSIONS, pack_confusions(confusions))
        trial.set_user_attr(attr.CURVE, curve)
        if not self.weigh_seconds:
            self._note_better_iterations(trial, parameters, histories, curve)
        trial.set_user_attr(attr.SECONDS, round(time.monotonic() - started, 3))
        return (value, self.seconds_a_tile(parameters)) if self.weigh_seconds else value

    def _note_better_iterations(
        self,
        trial: optuna.Trial,
        parameters: CrfParameters,
        histories: NDArray[np.int64],
        curve: Sequence[float | None],
    ) -> None:
        """Store the confusion matrices of a searched number of iterations that beats the trial's own."""
        scores = {count: curve[count] or 0.0 for count in self._searched(len(curve) - 1)}
        best = max(scores, key=lambda count: (scores[count], -count), default=parameters.iterations)
        if best != parameters.iterations and scores[best] > (curve[parameters.iterations] or 0.0):
            confusions = histories[:, best]
            better = {
                "iterations": best,
                "value": scores[best],
                "metrics": dict(survey_scores(confusions, self.classes)),
                "confusions": pack_confusions(confusions),
            }
            trial.set_user_attr(attr.BETTER_ITERATIONS, better)


def score_tiles(
    tiles: Sequence[TuningTile],
    parameters: CrfParameters,
    iterations: int,
    num_classes: int,
    engine: Engine,
) -> list[NDArray[np.int64]]:
    """Confusion histories, int64 (iterations + 1, K, K) a tile; runs in threads and worker processes."""
    opened = [tile.open(parameters.guide) for tile in tiles]
    return confusion_histories(
        [tile for tile, _ in opened],
        [mask for _, mask in opened],
        [np.array(tile.kept, dtype=np.uint8) for tile in tiles],
        parameters,
        iterations,
        num_classes,
        engine,
        [(tile.scores, parameters.guide) for tile in tiles],
    )
