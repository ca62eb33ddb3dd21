"""The note of one trial in Optuna Dashboard: how it ended and why, its parameters and scores with units."""

from __future__ import annotations

from objectives.records.study import Study, Trial
from reports.sections.cam import swap_sentence
from reports.sections.trials import ENDED_EARLY
from reports.style.formatting import (
    METRIC_MEANINGS,
    PARAMETER_UNITS,
    class_score,
    markdown_text,
    ordered,
    parameter,
    score,
    seconds,
)
from reports.style.study_words import read_off

_ENDED = ("complete", *ENDED_EARLY)


def trial_note(study: Study, trial: Trial) -> str | None:
    """Write the Markdown note of a trial that has ended; None for one that has not."""
    if trial.state not in _ENDED:
        return None
    title = f"# Trial {trial.number}" + (f": {markdown_text(trial.name)}" if trial.name else "")
    parts = [title, _ending(study, trial), *_origin(study, trial)]
    if study.kind == "cam" and (swapped := swap_sentence(study, trial)) is not None:
        parts.append(markdown_text(swapped))
    if trial.params:
        parts.append(_parameters(trial))
    if trial.scores:
        parts.append(_scores(study, trial))
    measured = trial.seconds is not None and (trial.derived_from is None or trial.finished_race)
    facts = [f"**Time:** {seconds(trial.seconds)}"] if measured else []
    if trial.tile_seconds is not None:
        facts.append(f"**Dense CRF:** {seconds(trial.tile_seconds)} a tile, lower is better")
    for label, text in (("Worker", trial.worker), ("Device", trial.device)):
        if text is not None:
            facts.append(f"**{label}:** {markdown_text(text)}")
    if trial.seed is not None:
        facts.append(f"**Seed:** {trial.seed}")
    if trial.run and trial.derived_from is None:
        run = markdown_text(trial.run)
        facts.append(f"**Run folder:** {run} (log.txt and output.txt tell its course)")
    if trial.state != "complete" and study.kind == "loss":
        facts.append("**Pictures:** none, as its run did not end and left no predictions.")
    return "\n\n".join([*parts, *facts]) + "\n"


def _ending(study: Study, trial: Trial) -> str:
    if trial.state == "complete":
        return f"**{markdown_text(study.metric)} {score(trial.value)}** on val"
    reason = markdown_text(trial.reason or "no reason was stored")
    return f"**{trial.state.capitalize()}:** {reason}"


def _origin(study: Study, trial: Trial) -> list[str]:
    """Tell where a trial comes from that was not simply asked for."""
    found = []
    if trial.finished_race:
        found.append(f"Trial {trial.derived_from}, which a race had stopped, scored on its remaining tiles.")
    elif trial.derived_from is not None:
        found.append(f"Read off trial {trial.derived_from}, {read_off(trial)}.")
    if trial.retry_of is not None:
        found.append(f"Goes on with trial {trial.retry_of}, which was interrupted.")
    if trial.taken_from is not None:
        found.append(f"Setting of {markdown_text(trial.taken_from)}.")
    if trial.name:
        found.append(
            "An untuned setting, tried for comparison."
            if study.kind != "loss"
            else "A setting that every loss study tries."
        )
    return found


def _parameters(trial: Trial) -> str:
    lines = ["| parameter | value | unit |", "| --- | ---: | --- |"]
    for name in ordered(trial.params):
        value = markdown_text(parameter(trial.params[name]))
        lines.append(f"| {markdown_text(name)} | {value} | {PARAMETER_UNITS.get(name, '')} |")
    return "\n".join(lines)


def _scores(study: Study, trial: Trial) -> str:
    lines = ["| score (0 to 1) | on val | counted over |", "| --- | ---: | --- |"]
    names = [study.metric, *(name for name in trial.scores if name != study.metric)]
    for name in names:
        meaning = METRIC_MEANINGS.get(name, "")
        lines.append(f"| {markdown_text(name)} | {score(trial.scores.get(name))} | {meaning} |")
    for name, value in trial.iou.items():
        lines.append(f"| IoU of {markdown_text(name)} | {class_score(value)} | all tiles |")
    return "\n".join(lines)
