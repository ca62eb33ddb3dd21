"""What more iterations of the dense CRF bring, and what they cost."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

from objectives.records import attributes as attr
from objectives.records.study import Study, Trial
from reports.figures.base import (
    SILENT,
    Figure,
    Key,
    Spec,
    axis,
    layout,
    line,
    linked,
    padded,
    points,
    value_axis,
    whole_ticks,
)
from reports.style.formatting import count, figure_text, finite, score, seconds
from reports.style.palette import ACCENT, FAINT, NEUTRAL, WARNING


def stored_curve(study: Study, trial: Trial) -> list[float | None]:
    """Score after 0, 1, ... iterations as the trial stored it; empty where it stored none."""
    attrs = next((f.user_attrs for f in study.frozen if f.number == trial.number), {})
    found = attrs.get(attr.CURVE)
    return [finite(value) for value in found] if isinstance(found, list) else []


def quality_figure(study: Study, tuned: Trial | None, untuned: list[Trial]) -> Figure | None:
    """Draw the score after every number of iterations; None where the trials stored no curve."""
    metric = figure_text(study.metric)
    drawn: list[tuple[str, str, float, str, list[float | None]]] = []
    seen: list[dict[str, Any]] = []
    # A curve of no CRF is that of another setting, whose name it should bear: it comes last.
    for trial in sorted(untuned, key=lambda t: (t.params.get("iterations") == 0, -(t.value or 0.0))):
        same = {name: value for name, value in trial.params.items() if name != "iterations"}
        curve = stored_curve(study, trial)
        if curve and same not in seen and len(seen) < 4:
            colour, dash = (
                (WARNING, "solid") if not seen else (NEUTRAL, ("dash", "dot", "solid")[len(seen) % 3])
            )
            drawn.append((trial.name or "", colour, 1.8, dash, curve))
            seen.append(same)
    if tuned is not None and (curve := stored_curve(study, tuned)):
        drawn.append(("tuned", ACCENT, 2.6, "solid", curve))
    if not drawn:
        return None
    data = [
        line(list(range(len(curve))), curve, name, colour, width=width, dash=dash)
        for name, colour, width, dash, curve in drawn
    ]
    if tuned is not None and drawn[-1][0] == "tuned":
        chosen = int(tuned.params.get("iterations", 0))
        point = points([chosen], [tuned.value], "chosen", ACCENT, size=11, **SILENT)
        data.append(point)
    longest = max(len(curve) for *_, curve in drawn) - 1
    reached = [value for *_, curve in drawn for value in curve if value is not None]
    return Figure(
        "crf-iterations",
        data,
        layout(
            xaxis=axis("mean-field iterations", rangemode="tozero", **whole_ticks(0, longest)),
            yaxis=value_axis(metric, range=padded(reached)),
        ),
        "Quality by iterations",
        f"{study.metric} on val after each number of iterations; the point is the number that was chosen.",
        "Lines: " + "; ".join(f"{name} from {score(c[0])} to {score(c[-1])}" for name, *_, c in drawn) + ".",
        height=300,
        keys=tuple(Key(name, colour, dash=dash) for name, colour, _, dash, _ in drawn),
    )


def time_figure(study: Study) -> Figure | None:
    """Draw the time of completed trials over their iterations, with the median of each number."""
    timed = [trial for trial in timed_trials(study) if "iterations" in trial.params]
    by_number: dict[int, list[float]] = defaultdict(list)
    for trial in timed:
        by_number[int(trial.params["iterations"])].append(cost(trial))
    if len(by_number) < 2:
        return None
    numbers = sorted(by_number)
    medians = [statistics.median(by_number[n]) for n in numbers]
    x = [trial.params["iterations"] for trial in timed]
    y = [cost(trial) for trial in timed]
    note = (
        " One run gives the labels after every number, so a trial's time hardly depends on its own."
        if _runs_are_shared(study, timed)
        else ""
    )
    return Figure(
        "crf-time",
        [
            points(x, y, "trial", FAINT, size=6, opacity=0.7) | linked("crf", [t.number for t in timed]),
            line(numbers, medians, "median", ACCENT, **SILENT),
        ],
        layout(
            xaxis=axis("mean-field iterations", rangemode="tozero", **whole_ticks(0, numbers[-1])),
            yaxis=value_axis(_cost_title(study), rangemode="tozero"),
        ),
        "Time by iterations",
        (
            f"Time of the dense CRF on one tile, of {count(len(timed), 'completed trial')}."
            if study.weighs_seconds
            else f"Time to refine and score all val tiles, of {count(len(timed), 'completed trial')}.{note}"
        ),
        f"Median {seconds(medians[0])} at {numbers[0]} and {seconds(medians[-1])} at "
        f"{numbers[-1]} iterations.",
        height=300,
        keys=(Key("trial", FAINT), Key("median", ACCENT, dash="solid")),
    )


def cost(trial: Trial) -> float:
    """Seconds a tile where the study weighs them, seconds of the whole trial elsewhere."""
    return (trial.tile_seconds if trial.tile_seconds is not None else trial.seconds) or 0.0


def _cost_title(study: Study) -> str:
    return "seconds per tile" if study.weighs_seconds else "seconds per trial"


def _runs_are_shared(study: Study, timed: list[Trial]) -> bool:
    """Whether one run gave the labels after every number of iterations, so that times are alike."""
    return not study.weighs_seconds and any(stored_curve(study, trial) for trial in timed)


def timed_trials(study: Study) -> list[Trial]:
    """Completed trials that were timed themselves."""
    if study.weighs_seconds:
        return [trial for trial in study.complete if trial.tile_seconds is not None]
    return [trial for trial in study.complete if trial.seconds and trial.derived_from is None]


def front(trials: list[Trial]) -> list[Trial]:
    """Trials that none beats in both time and value, fastest first."""
    found: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (cost(t), -(t.value or 0.0))):
        if not found or (trial.value or 0.0) > (found[-1].value or 0.0):
            found.append(trial)
    return found


def front_figure(study: Study) -> Figure | None:
    """Draw value over time and the Pareto front.

    None where one trial is both fastest and best, and where all trials ran equally many iterations:
    what differs in their times then is what else the machine did.
    """
    timed = timed_trials(study)
    best = front(timed)
    if len(best) < 2 or _runs_are_shared(study, timed):
        return None
    metric = figure_text(study.metric)
    steps_x = [cost(trial) for trial in best]
    steps_y = [trial.value for trial in best]
    data: list[Spec] = [
        points([cost(t) for t in timed], [t.value for t in timed], "trial", FAINT, size=6, opacity=0.7)
        | linked("crf", [t.number for t in timed]),
        line(steps_x, steps_y, "front", ACCENT, shape="hv", **SILENT),
        points(steps_x, steps_y, "on the front", ACCENT, size=8) | linked("crf", [t.number for t in best]),
    ]
    return Figure(
        "crf-front",
        data,
        layout(
            xaxis=axis(_cost_title(study), rangemode="tozero"),
            yaxis=value_axis(metric, range=padded([t.value or 0.0 for t in timed])),
        ),
        "Quality against time",
        f"The Pareto front: {count(len(best), 'setting')} of {len(timed)} that no other beats in both.",
        f"From {score(best[0].value)} in {seconds(cost(best[0]))} to {score(best[-1].value)} in "
        f"{seconds(cost(best[-1]))}.",
        height=300,
        keys=(Key("trial", FAINT), Key("on the front", ACCENT)),
    )
