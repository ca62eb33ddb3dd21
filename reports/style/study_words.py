"""What is said of a study and its trials in a few words, in the report and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from objectives.records.study import Study, Trial
from objectives.records.trial import ROUNDS
from reports.style.formatting import count, listing


def foreign_note(numbers: Sequence[int]) -> str | None:
    """Say which trials are left out because another program added them; None where there are none."""
    if not numbers:
        return None
    verb, noun = ("was", "trial") if len(numbers) == 1 else ("were", "trials")
    named = [str(number) for number in numbers[:5]] + (["others"] if len(numbers) > 5 else [])
    return (
        f"{count(len(numbers), 'trial')} {verb} added by another program: left out ({noun} {listing(named)})"
    )


def read_off(trial: Trial) -> str:
    """Say what a trial is of the one that it was read off."""
    rounds = trial.params.get(ROUNDS)
    if rounds is None:
        return "with another number of iterations"
    if rounds == 0:
        return "before its first round: the classification branch alone, which cannot win"
    return "after its first round" if rounds == 1 else f"after its first {rounds} rounds"


def progress(study: Study) -> str:
    """How many trials of the budget were scored in full and how many not."""
    own = [trial for trial in study.trials if trial.counted]
    if not own:
        return f"{study.kind}: not begun"
    complete = sum(trial.counted for trial in study.complete)
    found = [f"{complete} scored in full"]
    for state, words in (("pruned", "ended early"), ("failed", "failed"), ("running", "running")):
        if number := sum(trial.state == state for trial in own):
            found.append(f"{number} {words}")
    return f"{study.kind}: {count(len(own), 'trial')}, {listing(found)}"
