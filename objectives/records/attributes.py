"""Every user attribute of studies and of trials: its name, what it is, and which module writes it."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType

BATCH_SIZE = "batch_size"
BETTER_ITERATIONS = "better_iterations"
CAM = "cam"
CONFIG = "config"
CONFIRM = "confirm"
CONFUSIONS = "confusions"
CONFUSIONS_SHOWN = "confusions_shown"
CREATED = "created"
CRF = "crf"
CURVE = "curve"
DEATHS = "deaths"
DERIVED = "derived_from"
DEVICE = "device"
DRAWS = "draws"
EARLIER_ROUNDS = "earlier_rounds"
ENGINE = "engine"
ENGINE_NOTE = "engine_note"
ENQUEUED = "enqueued"
FINISHED_RACE = "finished_race"
FREQUENCIES = "frequencies"
GROUPS = "groups"
INTERRUPTED = "interrupted"
JOULES = "joules"
KIND = "kind"
MEMORY_RAN_OUT = "memory_ran_out"
METRIC = "metric"
METRIC_NOTE = "metric_note"
NAME = "name"
ORIGIN = "warm_start"
PARTIAL = "partial"
PROPOSAL = "proposal"
RACE_CLAIMS = "race_claims"
RACE_FINISHED = "race_finished"
REASON = "reason"
REFUSED = "refused"
REPETITION = "repetition"
RETRY_OF = "retry_of"
RUN = "run"
SCORES = "metrics"
SECONDS = "seconds"
SEARCHED_ROUNDS = "searched_rounds"
SEED = "seed"
SETTING = "setting"
STOPPED = "stopped"
STOP_REQUESTS = "stop_requests"
SURVEY = "survey"
TEST_OPENINGS = "test_openings"
TILES = "tiles"
UNSCORED = "unscored"
UNTUNED = "untuned"
VERSIONS = "versions"
WARM_STARTS = "warm_starts"
WORKER = "worker"


@dataclass(frozen=True)
class Attribute:
    """A user attribute.

    Attributes
    ----------
    kinds : tuple of type
        What its JSON is read as.
    writer : str
        The module that writes it first.
    meaning : str
    """

    kinds: tuple[type, ...]
    writer: str
    meaning: str


_DESCRIBED = "studies.compatibility"
_NUMBER = (int, float)

STUDY: dict[str, Attribute] = {
    BATCH_SIZE: Attribute((list,), "studies.stages.batch_size", "batch sizes in turn, why each was chosen"),
    CAM: Attribute(
        (dict,), "studies.stages.chosen_maps", "the cam trial whose maps are those of the workspace"
    ),
    CONFIG: Attribute((dict,), _DESCRIBED, "the settings of study.toml"),
    CONFIRM: Attribute((dict,), "studies.confirmation.confirm", "the confirmation: who, runs, results"),
    CREATED: Attribute((str,), _DESCRIBED, "when the study began (ISO 8601)"),
    CRF: Attribute((dict,), "studies.stages.prepare", "the crf trial behind the first pseudo-labels"),
    DEVICE: Attribute((str,), _DESCRIBED, "what runs are computed on"),
    DRAWS: Attribute((int,), "objectives.samplers", "how many samplers were made, each with its own seed"),
    ENGINE: Attribute((str,), "studies.stages.crf", "the dense CRF engine"),
    ENGINE_NOTE: Attribute((str,), "studies.stages.crf", "what the engines took if one was to be chosen"),
    GROUPS: Attribute((list,), _DESCRIBED, "the strip of each tile, or null"),
    KIND: Attribute((str,), _DESCRIBED, "cam, crf or loss"),
    METRIC: Attribute((str,), _DESCRIBED, "the score that is maximised"),
    METRIC_NOTE: Attribute((str,), _DESCRIBED, "why it is not the score that was asked for"),
    RACE_CLAIMS: Attribute((dict,), "studies.stages.finish_races", "who scores which stopped trial now"),
    RACE_FINISHED: Attribute((dict,), "studies.stages.race_remainder", "how many stopped trials were scored"),
    SEARCHED_ROUNDS: Attribute((int,), "studies.stages.earlier_rounds", "rounds of a run, if searched"),
    SEED: Attribute((int,), _DESCRIBED, "the random seed of study.toml"),
    STOPPED: Attribute((str, NoneType), "studies.trials.loop", "why no more trials are begun"),
    STOP_REQUESTS: Attribute((list,), "studies.workers.dask", "launches whose workers are to stop"),
    SURVEY: Attribute((dict,), _DESCRIBED, "name, fingerprint, classes and tile counts"),
    TEST_OPENINGS: Attribute((list,), "studies.storage.openings", "when and why the test split was opened"),
    TILES: Attribute((list,), _DESCRIBED, "the scored tiles of val, in the order of the confusions"),
    UNSCORED: Attribute((list,), _DESCRIBED, "classes that the masks cannot score"),
    UNTUNED: Attribute((str,), _DESCRIBED, "why nothing can be tuned"),
    VERSIONS: Attribute((dict,), _DESCRIBED, "versions of Python and of packages"),
    WARM_STARTS: Attribute((list,), "studies.stages.warm_start", "studies whose trials were taken over"),
}

TRIAL: dict[str, Attribute] = {
    BATCH_SIZE: Attribute((int, str), "objectives.loss", "the batch size of the run"),
    BETTER_ITERATIONS: Attribute((dict,), "objectives.crf", "a better number of iterations, its result"),
    CONFUSIONS: Attribute((str,), "objectives.crf", "packed confusion matrices, one per tile"),
    CONFUSIONS_SHOWN: Attribute((str, NoneType), "objectives.loss", "those among the classes of each label"),
    CURVE: Attribute((list,), "objectives.crf", "score after 0, 1, ... iterations"),
    DEATHS: Attribute((int,), "studies.trials.retry", "how often its program died"),
    DERIVED: Attribute((int,), "studies.stages.crf", "the trial that it was read off, or finishes"),
    DEVICE: Attribute((str,), "studies.workers.worker", "what it was computed on"),
    EARLIER_ROUNDS: Attribute((list,), "objectives.loss", "results at the ends of its rounds but the last"),
    ENQUEUED: Attribute((bool,), "studies.stages.crf", "a named setting, which is never ended early"),
    FINISHED_RACE: Attribute((bool,), "studies.stages.finish_races", "a stopped trial, scored on all tiles"),
    FREQUENCIES: Attribute((list,), "objectives.loss", "class frequencies of the pseudo-labels"),
    INTERRUPTED: Attribute((bool,), "studies.trials.retry", "no end of its own: it is run again"),
    JOULES: Attribute((*_NUMBER, NoneType), "objectives.loss", "energy of the run's GPU"),
    MEMORY_RAN_OUT: Attribute((int,), "studies.trials.loop", "how often memory ran out"),
    NAME: Attribute((str,), "studies.stages.crf", "name of an untuned setting"),
    ORIGIN: Attribute((dict,), "studies.stages.warm_start", "the trial of another workspace it comes from"),
    PARTIAL: Attribute((dict,), "objectives.crf", "what a stopped trial had scored"),
    PROPOSAL: Attribute((str,), "objectives.samplers", "random or adaptive"),
    REASON: Attribute((str,), "studies.trials.loop", "why it failed or ended early"),
    REFUSED: Attribute((bool,), "studies.trials.loop", "its enqueued setting cannot be used"),
    REPETITION: Attribute((bool,), "objectives.seeded_run", "a setting again with another seed"),
    RETRY_OF: Attribute((int,), "studies.trials.retry", "the interrupted trial that it goes on with"),
    RUN: Attribute((str,), "objectives.seeded_run", "run folder, relative to the workspace"),
    SCORES: Attribute((dict,), "objectives.crf", "every score, and IoU per class"),
    SECONDS: Attribute(_NUMBER, "objectives.crf", "what it took"),
    SEED: Attribute((int,), "objectives.seeded_run", "random seed of the run"),
    SETTING: Attribute((str,), "objectives.loss", "text of the parameters, without the seed"),
    WORKER: Attribute((dict,), "studies.trials.loop", "host and process that ran it"),
}
