"""Command: confirm a study's winner against the untuned baseline."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studies.commands.evaluate import SplitChoice
from studies.commands.workspace_choice import WorkspaceArgument, find_workspace

if TYPE_CHECKING:
    from sonarseg.densecrf.parameters import CrfParameters
    from studies.workspace import Workspace


class StudyChoice(StrEnum):
    """Studies that have a winner."""

    ALL = "all"
    CRF = "crf"
    LOSS = "loss"


def confirm(
    workspace: WorkspaceArgument = None,
    study: Annotated[
        StudyChoice,
        typer.Option(help="crf scores pseudo-labels; loss trains winner and baseline with new seeds."),
    ] = StudyChoice.ALL,
    seeds: Annotated[int, typer.Option(min=1, help="New seeds per side; each is a training run.")] = 5,
    split: Annotated[
        SplitChoice, typer.Option(help="test scores val and test, and is logged in the study database.")
    ] = SplitChoice.VAL,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="SETTING",
            help="Untuned CRF to compare with (no-crf, w-s3tseg, ...); by default the best one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure winner and untuned baseline anew, with an interval; the same command resumes.

    On val the winner was chosen, which flatters it a little; only test is a figure to publish.
    """
    from studies.commands.console import ConsoleProgress, console
    from studies.commands.tables import show
    from studies.confirm import confirm as confirm_study
    from studies.contenders import contenders
    from studies.interrupts import interruptible
    from studies.stages import Machinery
    from studies.storage import KINDS

    chosen = find_workspace(workspace)
    setting = _setting(chosen, against)
    wanted = [kind for kind in KINDS if study in (StudyChoice.ALL, kind)]
    # Before anything long begins, every study is asked whether it has a winner.
    for kind in wanted:
        contenders(chosen, kind, setting)
    for kind in wanted:
        with interruptible(), ConsoleProgress() as progress:
            record = confirm_study(
                chosen,
                kind,
                against=setting,
                seeds=seeds,
                test=split is SplitChoice.TEST,
                machinery=Machinery(progress=progress),
            )
        show(console, *outcome(kind, record))


def _setting(workspace: Workspace, name: str | None) -> tuple[str, CrfParameters] | None:
    if name is None:
        return None
    from studies.commands.scaling import workspace_scaling
    from studies.commands.targets import crf_named

    return name, crf_named(workspace, name, workspace_scaling(workspace))


def outcome(kind: str, record: dict[str, Any]) -> list[Any]:
    """Lay out what a confirmation found, for the terminal."""
    from reports.formatting import count, difference, interval, score
    from studies.commands.tables import calm_table, inert

    rows: list[list[str]] = []
    for split, metrics in record["results"].items():
        for metric, found in metrics.items():
            ends = [float("nan") if found[end] is None else found[end] for end in ("low", "high")]
            gain = difference(found["difference"])
            rows.append([f"{metric} on {split}", score(found["winner"]), score(found["baseline"]), gain])
            rows[-1].append(interval(*ends))
    seeds = record["seeds"]
    title = f"{kind}: {record['winner']['name']} against {record['baseline']['name']}"
    lines: list[Any] = [
        inert(title),
        calm_table(["", "winner", "baseline", "difference", "95 % interval"], rows),
        inert(
            f"Mean over {count(len(seeds), 'new seed')} per side; strips and seeds resampled."
            if kind == "loss"
            else "Pseudo-labels have no seed; strips resampled."
        ),
        inert(verdict(record)),
    ]
    failed = [run for run in record["runs"] if run["reason"] is not None]
    return lines + [
        inert(f"The {run['role']}'s run with seed {run['seed']} failed: {run['reason']}") for run in failed
    ]


def verdict(record: dict[str, Any]) -> str:
    """Say in a sentence what the study's metric shows, on test where it was scored."""
    from reports.study_records import resampled_units
    from sonarseg.metrics.scores import FEWEST_GROUPS

    split = "test" if "test" in record["results"] else "val"
    found = record["results"].get(split, {}).get(record["metric"])
    if found is None or found["difference"] is None:
        return f"{record['metric']} on {split} is not defined: no tile there allows it."
    if found["low"] is None:
        units = resampled_units(record["groups"][split])
        few = f"{units} are too few, it takes {FEWEST_GROUPS}"
        return f"{record['metric']} on {split} allows no interval: {few}."
    if found["low"] > 0:
        sentence = f"The gain in {record['metric']} on {split} is confirmed: its interval lies above 0."
    elif found["high"] < 0:
        sentence = f"The winner is worse in {record['metric']} on {split}: the interval lies below 0."
    else:
        sentence = f"The interval of {record['metric']} on {split} holds 0: the difference may be chance."
    chosen_there = " The winner was chosen on val; --split test measures it on tiles it has not seen."
    return sentence + (chosen_there if split == "val" else "")
