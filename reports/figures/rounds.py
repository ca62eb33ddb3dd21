"""What more rounds of self-training bring, where rounds are searched."""

from __future__ import annotations

import statistics

from objectives.records.study import Study
from objectives.records.trial import ROUNDS
from reports.figures.base import Figure, Key, axis, layout, line, padded, points, value_axis, whole_ticks
from reports.findings.loss_rounds import all_rounds, branch_alone
from reports.findings.loss_table import LossRow
from reports.style.formatting import figure_text, score
from reports.style.palette import NEUTRAL


def rounds_figure(study: Study, rows: list[LossRow]) -> Figure | None:
    """Draw the mean score of each loss after each round; None where rounds are not searched."""
    drawn: list[tuple[LossRow, list[int], list[float]]] = []
    for row in rows:
        rounds = [each for each in all_rounds(study, row.trials) if ROUNDS in each[0].params]
        means = [statistics.fmean(trial.value or 0.0 for trial in each) for each in rounds]
        if rounds:
            drawn.append((row, [int(each[0].params[ROUNDS]) for each in rounds], means))
    if not drawn:
        return None
    data = [
        line(numbers, means, row.label, row.colour, mode="lines+markers") for row, numbers, means in drawn
    ]
    keys = [Key(row.label, row.colour, dash="solid") for row, _, _ in drawn]
    reached = [value for _, _, means in drawn for value in means]
    words = [f"{row.label} from {score(means[0])} to {score(means[-1])}" for row, _, means in drawn]
    if (alone := branch_alone(study)) is not None and alone.value is not None:
        data.append(points([0], [alone.value], "classification branch alone", NEUTRAL, size=9))
        keys.append(Key("classification branch alone", NEUTRAL))
        reached.append(alone.value)
        words.append(f"the classification branch alone has {score(alone.value)}")
    metric = figure_text(study.metric)
    return Figure(
        "loss-rounds",
        data,
        layout(
            xaxis=axis("rounds of self-training", **whole_ticks(0, max(max(n) for _, n, _ in drawn))),
            yaxis=value_axis(metric, range=padded(reached)),
        ),
        "Quality by rounds",
        f"{study.metric} on val after each round, mean over the seeds of Table I. Round 0 is the "
        "classification branch alone, the same for all losses; it is shown for comparison and cannot win.",
        "Lines: " + "; ".join(words) + ".",
        height=320,
        keys=tuple(keys),
    )
