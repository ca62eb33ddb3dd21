"""A workspace in a few facts: for `sonarseg status --json`, the notes, and the head of the report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from objectives.records.ranking import best_of
from objectives.records.read import read_studies
from objectives.records.sqlite import DATABASE
from objectives.records.study import KINDS, REQUIRED, Study, Trial, test_openings
from reports.figures.iterations import cost, front, timed_trials
from reports.findings.confirmed import confirmed
from reports.findings.loss_table import TABLE_METRICS, LossRow, loss_table
from reports.findings.verdict import verdict
from reports.overview.cam_words import cam_facts, cam_sentence, lineage, swap_words
from reports.sections.cam import CamSection
from reports.sections.crf import CrfSection
from reports.sections.loss import LossSection
from reports.sections.trials import state_counts
from reports.style.formatting import count, difference, listing, score, seconds
from reports.style.interval_words import search_sentence, why_none
from reports.style.study_words import foreign_note

_NONE = (
    "There is no {} study in this workspace: it was removed, for example in the dashboard; "
    "`sonarseg tune` makes it again."
)
# What was proposed without a look at scores, and so tells what choosing among it gains
_BLIND = "settings untuned or drawn at random"
_FIXED = "losses fixed beforehand"
_FIXED_WITH_ROUNDS = "pairs of a fixed loss and its rounds, over cross-entropy with all rounds"


def summarise(workspace: Path) -> dict[str, Any]:
    """Trials by state, best value and parameters of each study, fit for JSON.

    Parameters
    ----------
    workspace : Path
        Folder of the study; without a database nothing was tuned yet.

    Returns
    -------
    dict
        `{"verdict": {...}, "studies": {"crf": {...} or None, "loss": {...} or None}}`, and "cam" if
        there is such a study; the verdict has the fields of `reports.findings.verdict.Verdict`.

    Raises
    ------
    UserError
        Where the database cannot be read.
    """
    studies = read_studies(workspace) if (workspace / DATABASE).is_file() else {}
    return {
        "verdict": asdict(verdict(studies, workspace)),
        "studies": {
            kind: None if kind not in studies else summarise_study(studies[kind])
            for kind in KINDS
            if kind in studies or kind in REQUIRED
        },
    }


def summarise_study(study: Study) -> dict[str, Any]:
    """List the facts of one study."""
    facts: dict[str, Any] = {
        "metric": study.metric,
        "metric_note": study.metric_note,
        "untuned": study.untuned,
        "unscored": study.unscored,
        "failures": failures(study),
        "trials": study.counts(),
        "left_out": list(study.foreign),
        "lineage": lineage(study),
    }
    if study.kind == "cam":
        return facts | cam_facts(study)
    return facts | (_crf_facts(study) if study.kind == "crf" else _loss_facts(study))


def failures(study: Study) -> list[dict[str, Any]]:
    """List why trials failed, the newest reason first: reason, number of trials, newest trial."""
    found: dict[str, dict[str, Any]] = {}
    for trial in reversed(study.in_state("failed")):
        reason = trial.reason or "no reason was noted"
        each = found.setdefault(reason, {"reason": reason, "trials": 0, "newest": trial.number})
        each["trials"] += 1
    return list(found.values())


def _crf_facts(study: Study) -> dict[str, Any]:
    best, untuned = study.best(), best_of([trial for trial in study.complete if trial.name])
    return {
        "best": None if best is None else _best(best, best.value, best.scores),
        "best_untuned": None if untuned is None else {"name": untuned.name, "value": untuned.value},
    }


def _loss_facts(study: Study) -> dict[str, Any]:
    """List the facts of the loss study; its best is a mean over seeds, under the first run's number."""
    table = loss_table(study)
    winner = table.winner(study.metric)
    return {
        "best": None
        if winner is None
        else _best(winner.trials[0], winner.means[study.metric], {k: winner.means[k] for k in TABLE_METRICS}),
        "seeds": table.seeds,
        "losses": [
            {
                "loss": row.key,
                "params": row.params,
                "trials": [trial.number for trial in row.trials],
                "means": row.means,
                "compared": row.compared,
            }
            for row in table.rows
        ],
    }


def _best(trial: Trial, value: float | None, scores: dict[str, float | None]) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "name": trial.name,
        "value": value,
        "params": trial.params,
        "scores": scores,
    }


def in_short(crf: CrfSection | None, loss: LossSection | None, cam: CamSection | None = None) -> list[str]:
    """Tell what was found, in sentences written from the data."""
    if crf is None and loss is None:
        return ["The database holds no study yet."]
    if crf and loss and crf.study.untuned and not crf.study.complete and loss.study.untuned:
        sentences = [f"Neither dense CRF nor loss could be tuned: {crf.study.untuned.rstrip('.')}."]
        if loss.curves:
            sentences.append("One run with cross-entropy was trained all the same; nothing scores it.")
        return sentences
    first = _with_confirmation(crf_sentence(crf), crf.study) if crf else _NONE.format("dense CRF")
    second = _with_confirmation(loss_sentence(loss), loss.study) if loss else _NONE.format("loss")
    careful = " ".join(cautions(crf, loss))
    maps = [] if cam is None else [" ".join(filter(None, (cam_sentence(cam), swap_words(cam))))]
    return [*maps, first, second, *([careful] if careful else [])]


def _with_confirmation(sentence: str, study: Study) -> str:
    again = confirmed(study)
    return sentence if again is None else f"{sentence} {again.sentence()}"


def _unfinished(study: Study, what: str) -> str | None:
    """Write the sentence for a study without anything to compare, or None."""
    if study.untuned:
        return f"The {what} could not be tuned: {study.untuned.rstrip('.')}."
    if not study.trials:
        return f"The {what} study holds no trial yet."
    if not study.complete:
        return f"No trial of the {what} study has ended well yet ({state_counts(study)})."
    return None


def crf_sentence(section: CrfSection) -> str:
    """Tell what tuning the dense CRF brought."""
    study = section.study
    sentence = _unfinished(study, "dense CRF")
    if sentence:
        return sentence
    untuned, tuned = section.best_untuned, section.tuned
    if tuned is None:
        if untuned is None:
            return "No dense CRF setting has been scored yet."
        scored = f"{untuned.name} with {study.metric} {score(untuned.value)}"
        return f"Only untuned dense CRF settings have been scored; the best is {scored}."
    start = f"The tuned dense CRF (trial {tuned.number}) reaches {study.metric} {score(tuned.value)} on val"
    if untuned is None:
        return f"{start}; no untuned setting has been scored beside it."
    compared = (
        f"{start}, the best untuned setting ({untuned.name}) {score(untuned.value)}: "
        f"{difference(section.ahead)} on the tiles that chose it"
    )
    front = f"; {_front_words(study)}." if study.weighs_seconds else "."
    gained = "" if section.search is None else f" {search_sentence(section.search, 'val', _BLIND)}"
    if gained and section.unfinished:
        gained += (
            f" {count(section.unfinished, 'setting')} that races stopped were not scored whole, which "
            "flatters this gain."
        )
    return f"{compared}{front}{gained}"


def _front_words(study: Study) -> str:
    """Tell what the Pareto front of quality and time offers."""
    best = front(timed_trials(study))
    if len(best) == 1:
        return "no other setting is faster"
    fastest = f"{score(best[0].value)} in {seconds(cost(best[0]))} a tile (trial {best[0].number})"
    return (
        f"{len(best)} settings lie on the Pareto front of quality and time, from {fastest} to "
        f"{score(best[-1].value)} in {seconds(cost(best[-1]))}"
    )


def loss_sentence(section: LossSection) -> str:
    """Tell which loss came out best."""
    study = section.study
    sentence = _unfinished(study, "loss")
    if sentence:
        return sentence
    compared = [row for row in section.table.rows if row.compared]
    winner = section.table.winner(study.metric)
    if winner is None:
        return f"The loss study has completed trials, but none with {study.metric}."
    seeds = section.table.seeds
    best = f"{study.metric} {score(winner.means[study.metric])}"
    if len(compared) == 1:
        return f"Only {winner.label} has been scored so far: {best} on val ({count(seeds, 'seed')})."
    means = f"mean over {seeds} seeds each" if seeds > 1 else "one seed each"
    if len({score(row.means[study.metric]) for row in compared}) == 1:
        return f"No loss stands out ({means}): all {len(compared)} reach {best} on val."
    start = f"Of {len(compared)} losses ({means}) {winner.label} is best with {best} on val"
    baseline = next((row for row in section.table.rows if row.key == "cross-entropy"), None)
    if baseline is winner:
        return f"{start}{_runner_up(section)}."
    if baseline is None:
        return f"{start}."
    ahead = (winner.means[study.metric] or 0.0) - (baseline.means[study.metric] or 0.0)
    reached = f"{start}; cross-entropy reaches {score(baseline.means[study.metric])}"
    return f"{reached}: {difference(ahead)} on the tiles that chose it{_no_interval(section, winner)}."


def _no_interval(section: LossSection, row: LossRow) -> str:
    """Tell what the search for a loss gained, or why nothing is known of a loss beyond these tiles."""
    if section.gains is None:
        return ""
    if section.gains.search is not None:
        among = _FIXED_WITH_ROUNDS if section.gains.rounds else _FIXED
        return f". {search_sentence(section.gains.search, 'val', among)}".removesuffix(".")
    gain = section.gains.of(row, section.study.metric)
    return "" if gain is None or gain.known else f" ({why_none(gain, 'val')})"


def _runner_up(section: LossSection) -> str:
    """Tell how far the best of the other losses stays behind cross-entropy."""
    metric = section.study.metric
    others = [row for row in section.table.ranked(metric) if row.key != "cross-entropy"]
    if not others:
        return ""
    second = others[0]
    return (
        f"; {second.label} is next with {score(second.means[metric])} on the same tiles"
        f"{_no_interval(section, second)}"
    )


def cautions(crf: CrfSection | None, loss: LossSection | None) -> list[str]:
    """Tell what to be careful of when reading the numbers."""
    sections = [section for section in (crf, loss) if section is not None]
    found = [f"{s.study.kind} study: {note}." for s in sections if (note := foreign_note(s.study.foreign))]
    if loss is not None and loss.table.rows:
        by_paper, by_metric = loss.table.winner("miou_paper"), loss.table.winner(loss.study.metric)
        if by_paper is not None and by_metric is not None and by_paper is not by_metric:
            found.append(
                f"By miou_paper {by_paper.label} would be best instead: that metric counts a class absent "
                "from a tile as 1, and so says little about tiles of several classes."
            )
        by_all = loss.table.winner_of_all()
        if by_all is not None and by_metric is not None and by_all is not by_metric:
            found.append(
                f"Over all runs of each setting {by_all.label} would be best instead: {by_all.all_runs} "
                f"beside {by_metric.all_runs} of {by_metric.label}."
            )
    unscored = next((section.study.unscored for section in (crf, loss) if section is not None), [])
    if unscored:
        found.append(
            f"Not scored: {listing(unscored)}; the labels of val show it, but no mask of val holds it: no "
            "number here tells of it."
        )
    for what, section in (("dense CRF", crf), ("loss", loss)):
        counts = section.study.counts() if section is not None else {}
        if counts.get("running") and section is not None and section.study.complete:
            found.append(f"The {what} study is under way: {count(counts['running'], 'trial')} running.")
    scored = [section.study for section in sections if section.study.complete]
    if scored:
        opened = len(test_openings(scored))
        times = f"been opened {'once' if opened == 1 else f'{opened} times'}" if opened else "not been opened"
        found.append(
            f"Winners were chosen on the val tiles that score them, which flatters them; "
            f"the test split has {times}."
        )
    return found
