"""Where the result fails, and what to do next: sentences that follow from the data by rule."""

from __future__ import annotations

import math

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from objectives.records import attributes as attr
from objectives.records.study import Study, Trial, test_openings
from reports.figures.confusion import ConfusionTable
from reports.figures.tiles import tile_scores
from reports.findings.confirmed import confirmed
from reports.findings.loss_gains import BASELINE
from reports.findings.loss_table import class_means
from reports.findings.verdict import Verdict
from reports.sections.crf import CrfSection
from reports.sections.loss import LossSection
from reports.style.formatting import count, listing, parameter, score
from sonarseg.files.plain_text import plain

# A parameter this close to an end of its range, in shares of the range, may want to lie beyond it
EDGE = 0.03
# A best trial that came this late, and beat all before by more than that: the search was still gaining
LATE, STILL_GAINING = 0.8, 0.003
LEAST_TRIALS = 30
MOST_SENTENCES = 5


def where_it_fails(crf: CrfSection | None, loss: LossSection | None) -> list[str]:
    """Name the weakest class, the largest confusion and the worst tile of the best result."""
    found = _best_result(crf, loss)
    if found is None:
        return []
    what, study, trials, table = found
    sentences = []
    iou = {name: value for name, value in class_means(trials).items() if value is not None}
    if len(iou) > 1:
        weakest = min(iou, key=lambda name: iou[name])
        sentences.append(f"{what} is weakest on {weakest}: IoU {score(iou[weakest])}.")
    worst = None if table is None else table.worst()
    if worst is not None:
        truth, taken, share = worst
        sentences.append(f"{100 * share:.0f} % of the true {truth} is taken for {taken}.")
    runs = [
        trial.confusions for trial in trials if trial.confusions is not None and len(trial.confusions) > 1
    ]
    if len(runs) == len(trials) and len({run.shape for run in runs}) == 1:
        of_tile = np.mean([tile_scores(run) for run in runs], axis=0)
        place = int(np.nanargmin(of_tile))
        tiles = [plain(tile) for tile in study.attrs.get(attr.TILES) or []]
        name = tiles[place] if place < len(tiles) else f"number {place}"
        poor = int((of_tile < 0.5 * float(np.nanmedian(of_tile))).sum())
        more = f"; {count(poor, 'tile')} of {len(of_tile)} reach less than half of the median" if poor else ""
        sentences.append(f"The worst tile is {name} with miou {score(float(of_tile[place]))}{more}.")
    return sentences


def _best_result(
    crf: CrfSection | None, loss: LossSection | None
) -> tuple[str, Study, list[Trial], ConfusionTable | None] | None:
    """Find the winner of the loss study, or the best pseudo-labels where there is none."""
    if loss is not None and (winner := loss.table.winner(loss.study.metric)) is not None:
        table = next((t for t in loss.confusions if t.label == winner.label), None)
        return f"The network trained with {winner.label}", loss.study, winner.trials, table
    best = None if crf is None else crf.study.best()
    if crf is None or best is None:
        return None
    tables = {table.label: table for table in crf.confusions}
    return "The best pseudo-label", crf.study, [best], tables.get(best.name or "tuned")


def what_next(crf: CrfSection | None, loss: LossSection | None, judged: Verdict) -> list[str]:
    """Say what would help most, most urgent first; settings count only if the model learned something.

    Parameters
    ----------
    crf, loss : section or None
        What the page shows of the studies.
    judged : Verdict
        On the model of the workspace.
    """
    sections = [section for section in (crf, loss) if section is not None]
    barren = any(s.study.counts()["failed"] and not s.study.complete for s in sections)
    missing, failures = _missing(crf, loss), _failures(crf, loss)
    found = failures + missing if barren else missing + failures
    found += _of_verdict(judged)
    if judged.kind != "no better than guessing":
        found += [] if crf is None else _of_crf(crf)
        found += [] if loss is None or not loss.table.rows else _of_loss(loss, judged)
    scored = [s.study for s in (crf, loss) if s is not None and s.study.complete]
    if judged.usable and not any(_on_test(study) for study in scored):
        opened = bool(test_openings(scored))
        unseen = (
            "on the test tiles, which have been opened before (see Provenance)"
            if opened
            else "once on unseen tiles"
        )
        found.append(
            f"For a number to publish, measure winner and baseline again, with new seeds and {unseen}: "
            "`sonarseg confirm --split test`."
        )
    return found[:MOST_SENTENCES]


def _of_verdict(judged: Verdict) -> list[str]:
    """Say what may make a useful model of one that is not."""
    if judged.kind == "no better than guessing":
        return [
            "Look at the CAMs under Pictures first: if they do not lie on the classes, neither dense CRF nor "
            "loss can help.",
            "Train longer, in a new workspace: raise `warmup_epochs` under [training], which makes the CAMs.",
            "Check the labels: labels.csv must name what each tile shows.",
        ]
    if judged.kind != "weak":
        return []
    found = []
    if "not scored" in judged.weaknesses:
        names = listing(judged.figures["unscored"])
        found.append(f"Draw masks of val tiles that show {names}, which nothing scores yet.")
    if "training loss" in judged.weaknesses:
        found.append("Train longer, in a new workspace: raise `epochs_per_round` under [training].")
    if "pseudo-labels" in judged.weaknesses:
        found.append(
            "The network falls short of its pseudo-labels: give it longer runs (`epochs_per_round` under "
            "[training]), or better pseudo-labels by a longer warm-up and more dense CRF trials."
        )
    return found


def _on_test(study: Study) -> bool:
    again = confirmed(study)
    return again is not None and any(row.split == "test" for row in again.rows)


def _missing(crf: CrfSection | None, loss: LossSection | None) -> list[str]:
    studies = [section.study for section in (crf, loss) if section is not None]
    if any(study.untuned and study.val_is_empty for study in studies):
        return [
            "Draw masks of some dozens of tiles of several lines, several with two or more classes; then "
            "`sonarseg init SURVEY --resplit` puts tiles in val, in a new workspace."
        ]
    if any(study.untuned for study in studies):
        return ["Draw masks for some dozens of val tiles, several with two or more classes; then tune again."]
    if any(study.counts()["running"] + study.counts()["waiting"] for study in studies):
        return [
            "Wait, or stop and go on with `sonarseg tune all`: the report can be written again at any time."
        ]
    if crf is None or not crf.study.trials:
        return ["Run `sonarseg tune all`."]
    if loss is None or not loss.study.complete:
        return ["Run `sonarseg tune loss`: no loss has been compared yet."]
    return []


def _failures(crf: CrfSection | None, loss: LossSection | None) -> list[str]:
    failed = sum(section.study.counts()["failed"] for section in (crf, loss) if section is not None)
    if not failed:
        return []
    return [f"{count(failed, 'trial')} failed: the reasons stand above the tables under Trials."]


def _of_crf(section: CrfSection) -> list[str]:
    found = []
    tuned, study = section.tuned, section.study
    gain = section.search
    if gain is not None and gain.known and gain.low <= 0:
        found.append(
            "The gain of the crf search is not proven: give val more strips with masks, or keep the "
            "untuned setting."
        )
    late = None if tuned is None else _late(study, tuned)
    if late is not None:
        found.append(f"The best dense CRF came late ({late} searched): raise `trials` under [crf] and go on.")
    if tuned is not None and (edges := edge_parameters(study, tuned)):
        found.append(f"{listing(edges)} of the range searched: search a wider one in a new workspace.")
    return found


def _late(study: Study, best: Trial) -> str | None:
    """Tell the place of a best trial that came late and was a gain worth waiting for, or None."""
    searched = [trial for trial in study.trials if trial.searched]
    order = [trial.number for trial in searched]
    origin = best.number if best.derived_from is None else best.derived_from
    if len(order) < LEAST_TRIALS or origin not in order or order.index(origin) + 1 < LATE * len(order):
        return None
    before = [
        t.value for t in study.complete if t.number < order[int(LATE * len(order))] and t.value is not None
    ]
    if best.value is None or best.value - max(before, default=0.0) <= STILL_GAINING:
        return None
    return f"place {order.index(origin) + 1} of {len(order)}"


def edge_parameters(study: Study, trial: Trial) -> list[str]:
    """Name the parameters of a trial that lie at an end of what was searched."""
    frozen = next((f for f in study.frozen if f.number == trial.number), None)
    found = []
    for name, space in {} if frozen is None else sorted(frozen.distributions.items()):
        if not isinstance(space, FloatDistribution | IntDistribution) or space.high <= space.low:
            continue
        ends = (space.low, float(trial.params[name]), space.high)
        low, value, high = (math.log(end) for end in ends) if space.log else ends
        place = (value - low) / (high - low)
        # few iterations are no shortage of range
        if (place <= EDGE and isinstance(space, FloatDistribution)) or place >= 1 - EDGE:
            end = "lower" if place < 0.5 else "upper"
            found.append(f"{name} {parameter(trial.params[name])} at the {end} end")
    return found


def _of_loss(section: LossSection, judged: Verdict) -> list[str]:
    table, metric = section.table, section.study.metric
    winner = table.winner(metric)
    found = []
    if judged.usable and table.seeds == 1 and len(table.rows) > 1:
        found.append("Give every loss a second seed (`seeds` under [loss]) before believing their order.")
    gain = None if section.gains is None else section.gains.search
    fixed = winner is not None and winner.fixed and winner.key != BASELINE
    if gain is not None and winner is not None and fixed and gain.known and gain.low <= 0:
        found.append(
            f"{winner.label} is not proven better than cross-entropy: plain cross-entropy remains a fair "
            "choice."
        )
    return found
