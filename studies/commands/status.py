"""Command: how far the studies of a workspace are, once or as a display that goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live

from objectives.records import attributes as attr
from studies.commands.options.workspace import WorkspaceArgument, find_workspace
from studies.commands.terminal.scores_table import figure, setting_text
from studies.commands.terminal.tables import FittingTable, inert

if TYPE_CHECKING:
    from studies.workspace import Workspace

WATCH_SECONDS = 2.0
# Reasons of failed trials that are shown without being asked for
_REASONS = 3
_STATES = ("complete", "pruned", "failed", "running")


def status(
    workspace: WorkspaceArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds.")] = False,
    log: Annotated[
        int | None,
        typer.Option(metavar="TRIAL", help="Show the last lines of a loss trial's log.", show_default=False),
    ] = None,
    lines: Annotated[int, typer.Option(min=1, help="How many lines of the log.")] = 20,
) -> None:
    """Tell how far the studies are, what is best so far, and what each worker does."""
    from studies.commands.terminal import phases
    from studies.commands.terminal.console import console

    chosen = find_workspace(workspace)
    if log is not None:
        typer.echo(log_tail(chosen, log, lines))
        return
    if as_json and watch:
        raise typer.BadParameter("--watch shows a display: leave --json out.", param_hint="--watch")
    if as_json:
        typer.echo(json.dumps(gather(chosen), indent=1))
        return
    if not watch:
        console.print(shown(gather(chosen)), soft_wrap=not console.is_terminal)
        return
    phases.rest()
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False, screen=False) as live:
        while not _all_done(facts := gather(chosen)):
            live.update(shown(facts), refresh=True)
            time.sleep(WATCH_SECONDS)
        live.update(shown(facts), refresh=True)


def gather(workspace: Workspace) -> dict[str, Any]:
    """Collect what `sonarseg status` tells, fit for JSON."""
    from reports.overview.summary import summarise
    from sonarseg.files.run_metrics import read_metrics
    from sonarseg.training.run_folder.record import is_finished
    from sonarseg.training.schedule import WARM_UP, epochs_before_rounds
    from studies.phase_file import phases_at_work
    from studies.stages.batch_size import study_batch_size
    from studies.storage.open import load_study
    from studies.storage.snapshot import refresh_snapshot
    from studies.workers.progress import study_progress

    refresh_snapshot(workspace)
    config, settled, run_dir = workspace.config, workspace.settled, workspace.warm_up_dir
    lines = read_metrics(run_dir)
    told = summarise(workspace.root)
    studies = told["studies"]
    budgets = {"cam": config.cam.trials, "crf": config.crf.trials, "loss": config.loss.trials}
    for kind, study in studies.items():
        if study is not None:
            opened = load_study(workspace.database_path, kind)
            batch_size = study_batch_size(opened, config) if kind == "loss" else None
            study |= {**study_progress(opened, budgets[kind]), "batch_size": batch_size}
            if study["died"]:
                states = study["trials"]
                states["running"] -= study["died"]
                states["interrupted"] = states.get("interrupted", 0) + study["died"]
    return {
        "verdict": told["verdict"],
        "name": config.name,
        "workspace": str(workspace.root),
        "survey": str(workspace.survey_path),
        "storage": str(workspace.database),
        "warm_up": {
            "finished": is_finished(run_dir),
            "epochs_done": len(lines),
            "epochs": epochs_before_rounds(settled.network, settled.training),
            "stage": lines[-1]["stage"] if lines else WARM_UP,
        },
        "at_work": phases_at_work(workspace),
        "studies": studies,
        "removed": [
            kind for kind, study in studies.items() if study is None and workspace.database_path.is_file()
        ],
        "test_openings": _test_openings(workspace),
        "report": str(workspace.report_path) if workspace.report_path.is_file() else None,
    }


def log_tail(workspace: Workspace, number: int, lines: int) -> str:
    """Read the last lines of a loss trial's log.

    Raises
    ------
    UserError
        Where there is no such trial, or it has written no log yet.
    """
    from objectives.records.trial import read_off_run
    from reports.style.formatting import number_ranges
    from sonarseg.errors import UserError
    from sonarseg.files.plain_text import plain
    from studies.storage.open import load_study

    trials = {each.number: each for each in load_study(workspace.database, "loss").get_trials(deepcopy=False)}
    if number not in trials:
        known = f"the trials {number_ranges(trials)}" if trials else "no trials yet"
        raise UserError(f"--log {number}: the loss study has {known}.")
    run, params = trials[number].user_attrs.get(attr.RUN), trials[number].params
    # Rounds that were read off a run stand in its log.
    logs = [workspace.root / each / "log.txt" for each in (run, read_off_run(run, params))] if run else []
    path = next((log for log in logs if log.is_file()), None)
    if path is None:
        raise UserError(
            f"--log {number}: this trial has not written a log yet: try again once its run has begun."
        )
    text = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(plain(line) for line in text[-lines:])


def _all_done(facts: dict[str, Any]) -> bool:
    return all(
        study is not None and (study["untuned"] or study["stopped"] or study["finished"] >= study["budget"])
        for study in facts["studies"].values()
    )


def _test_openings(workspace: Workspace) -> list[dict[str, str]]:
    from studies.storage.open import present_studies

    if not workspace.database_path.is_file():
        return []
    studies = present_studies(workspace.database_path).values()
    noted = [study.user_attrs.get(attr.TEST_OPENINGS, []) for study in studies]
    openings: list[dict[str, str]] = max(noted, key=len, default=[])
    return openings


def shown(facts: dict[str, Any]) -> Group:
    """Lay the facts out for the terminal."""
    from objectives.records.read import REMOVED
    from reports.style.formatting import count, moment

    warm_up = facts["warm_up"]
    done = "done"
    if not warm_up["finished"]:
        stage = "" if warm_up["stage"] == "warm-up" else f", {warm_up['stage']}"
        done = f"{warm_up['epochs_done']} of {warm_up['epochs']} epochs{stage}"
    parts: list[RenderableType] = [
        inert(facts["verdict"]["sentence"]),
        inert(f"{facts['name']}: workspace {facts['workspace']}, survey {facts['survey']}"),
        *map(inert, _at_work(facts)),
        inert(f"warm-up: {done}"),
        _table(facts),
    ]
    for kind, study in facts["studies"].items():
        if study is None:
            continue
        parts.extend(inert(f"{kind}: {line}") for line in _study_lines(study))
        if study["workers"]:
            parts.append(_workers_table(kind, study))
    parts.extend(inert(REMOVED.format(facts["storage"], kind)) for kind in facts["removed"])
    if openings := facts["test_openings"]:
        last = f"last on {moment(openings[-1]['time'])}: {openings[-1]['what']}"
        parts.append(inert(f"test masks opened {count(len(openings), 'time')}, {last}"))
    parts.append(inert(f"report: {facts['report'] or 'not written yet'}"))
    return Group(*parts)


def _at_work(facts: dict[str, Any]) -> Iterator[str]:
    """Say what each command at work does; workers of other machines stand in the tables of workers."""
    for each in facts["at_work"]:
        counted = f" {each['done']} of {each['total']}" if each["total"] else ""
        note = f", {each['note']}" if each["note"] else ""
        so_far = timedelta(seconds=round(each["seconds"]))
        by = f"`sonarseg {each['command']}`, process {each['process']['pid']} on {each['process']['host']}"
        yield f"now: {each['what']}{counted}{note}, for {so_far} ({by})"
    busy = facts["at_work"] or any(study and study["workers"] for study in facts["studies"].values())
    if not busy:
        yield "now: no command is at work"


def _study_lines(study: dict[str, Any]) -> Iterator[str]:
    from reports.overview.cam_words import lineage_words
    from reports.style.formatting import count
    from reports.style.study_words import foreign_note
    from sonarseg.survey.checks.scored_classes import not_scored

    if study["best"]:
        yield f"best {study['metric']} {figure(study['best']['value'])}, {_setting(study['best'])}"
    if words := lineage_words(study["lineage"]):
        yield words
    yield from study.get("swapped", [])[:_REASONS]
    if study["batch_size"] not in (None, "auto"):
        yield f"batches of {study['batch_size']} tiles"
    if number := study["trials"].get("interrupted"):
        yield f"{count(number, 'trial')} interrupted, which `sonarseg tune` goes on with or has gone on with"
    if note := foreign_note(study["left_out"]):
        yield note
    if study["untuned"]:
        yield study["untuned"]
    if study["unscored"]:
        yield not_scored(study["unscored"])
    shown_reasons = study["failures"][:_REASONS]
    for each in shown_reasons:
        yield f"{count(each['trials'], 'trial')} failed, trial {each['newest']} last: {each['reason']}"
    if len(study["failures"]) > len(shown_reasons):
        more = count(len(study["failures"]) - len(shown_reasons), "more reason")
        yield f"{more} of failed trials: see --json"
    if study["stopped"]:
        yield f"stopped: {study['stopped']}; `sonarseg tune` goes on once that is changed"
    if study["ends"]:
        ends = study["ends"].replace("T", " ")[:16]
        yield f"{study['trials_per_hour']:g} trials an hour; ends about {ends}"


def _table(facts: dict[str, Any]) -> FittingTable:
    begun = [study for study in facts["studies"].values() if study is not None]
    states = [state for state in _STATES if any(study["trials"][state] for study in begun)]
    rows = []
    for kind, study in facts["studies"].items():
        if study is None:
            rows.append(
                [kind, "removed" if kind in facts["removed"] else "not begun", *("-" for _ in states), "-"]
            )
            continue
        best = "-" if study["best"] is None else figure(study["best"]["value"])
        counts = (str(study["trials"][state]) for state in states)
        rows.append([kind, f"{study['finished']} of {study['budget']}", *counts, best])
    return FittingTable(["study", "finished", *states, "best"], rows)


def _workers_table(kind: str, study: dict[str, Any]) -> FittingTable:
    rows = [
        (
            "starting" if worker["pid"] is None else f"{worker['host']}, process {worker['pid']}",
            worker["setting"] or "-",
            worker["device"] or "-",
            worker["trial"],
            timedelta(seconds=round(worker["seconds"] or 0)),
            "-" if worker["step"] is None else worker["step"],
            "-" if worker["value"] is None else f"{worker['value']:.3f}",
        )
        for worker in study["workers"]
    ]
    head = ["worker", "setting", "on", f"{kind} trial", "since", "step", study["metric"]]
    return FittingTable(head, rows, words=3)


def _setting(best: dict[str, Any]) -> str:
    """Write a trial's name and parameters; a loss is called by the name of its setting, where it has one."""
    params = {name: value for name, value in best["params"].items() if name != "loss"}
    called = best["name"] or best["params"].get("loss")
    return f"trial {best['trial']}, " + ": ".join(filter(None, (called, setting_text(params))))
