"""Which trials a long study's plots and table show; sums, winners and importances use all of them."""

from __future__ import annotations

from objectives.records.study import Study, Trial
from reports.style.formatting import count

MOST_POINTS = 2000
MOST_ROWS = 1500
# Of these the best are always kept
KEPT_BEST = 500


def drawn_trials(study: Study) -> list[Trial]:
    """Completed trials to draw, by number: all, or of a long study the named, the best and every nth."""
    return _thinned(study.complete, MOST_POINTS)


def ended_trials(study: Study) -> list[tuple[Trial, float]]:
    """Pruned trials to draw, with the estimate on which each was ended; thinned like the completed ones.

    A race's estimate is one of first order, which may leave the range of a score; it is cut to 0..1.
    """
    ended = [trial for trial in study.in_state("pruned") if trial.intermediate]
    estimates = [
        (trial, trial.intermediate[max(trial.intermediate)]) for trial in _thinned(ended, MOST_POINTS)
    ]
    return [(trial, min(1.0, max(0.0, estimate))) for trial, estimate in estimates]


def listed_trials(study: Study) -> list[Trial]:
    """Trials to list, by number: all, or of a long study the named, the best and every nth."""
    return _thinned(list(study.trials), MOST_ROWS)


def _thinned(trials: list[Trial], most: int) -> list[Trial]:
    if len(trials) <= most:
        return trials
    ranked = sorted(trials, key=lambda t: (t.name is None, t.value is None, -(t.value or 0.0), t.number))
    kept, rest = ranked[:KEPT_BEST], sorted(ranked[KEPT_BEST:], key=lambda t: t.number)
    step = -(-len(rest) // (most - KEPT_BEST))
    return sorted(kept + rest[::step], key=lambda trial: trial.number)


def thinning_note(study: Study) -> str | None:
    """Say what is left out of the plots and the table; None where nothing is."""
    notes = []
    if len(drawn := drawn_trials(study)) < len(study.complete):
        notes.append(f"plots of single trials draw {len(drawn)} of {len(study.complete)} completed ones")
    if len(listed := listed_trials(study)) < len(study.trials):
        notes.append(f"the table lists {len(listed)} of {count(len(study.trials), 'trial')}")
    if not notes:
        return None
    return (
        f"This study is long: {' and '.join(notes)}, the untuned and the {KEPT_BEST} best among them "
        "and every nth of the rest. Winners, intervals, importances and counts use all trials; "
        "`sonarseg export` writes all of them."
    )
