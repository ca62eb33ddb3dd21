"""Command: confirm a study's winner against the untuned baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from studies.commands.evaluate import Split
from studies.commands.options.workspace import WorkspaceArgument, find_workspace

if TYPE_CHECKING:
    from objectives.records.study import StudyKind
    from sonarseg.densecrf.parameters import CrfParameters
    from studies.workspace import Workspace


def confirm(
    workspace: WorkspaceArgument = None,
    study: Annotated[
        Literal["all", "crf", "loss"],
        typer.Option(help="crf scores pseudo-labels; loss trains winner and baseline with new seeds."),
    ] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="New seeds per side; each is a training run.")] = 5,
    split: Annotated[
        Split, typer.Option(help="test scores val and test, and is logged in the study database.")
    ] = "val",
    against: Annotated[
        str | None,
        typer.Option(
            metavar="SETTING",
            help="Untuned CRF to compare with (no-crf, w-s3tseg, ...); by default the best one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure winner and untuned baseline with new seeds; the same command resumes.

    On val the same tiles chose the winner; only test can confirm a gain.
    """
    from objectives.records.study import REQUIRED
    from sonarseg.processes.signals import interruptible
    from studies.commands.terminal import phases
    from studies.commands.terminal.console import ConsoleProgress, console
    from studies.commands.terminal.tables import show
    from studies.confirmation.confirm import TestOpening
    from studies.confirmation.confirm import confirm as confirm_study
    from studies.confirmation.contenders import contenders
    from studies.stages.run_settings import RunSettings

    chosen = find_workspace(workspace)
    phases.note_in(chosen, "confirm")
    setting = _setting(chosen, against)
    wanted = [kind for kind in REQUIRED if study in ("all", kind)]
    # Before anything long begins, every study is asked whether it has a winner.
    for kind in wanted:
        contenders(chosen, kind, setting)
    named = "" if study == "all" else f"--study {study} "
    opening = TestOpening(f"sonarseg confirm {named}--split test")
    for kind in wanted:
        with interruptible(), ConsoleProgress() as progress:
            confirm_study(
                chosen,
                kind,
                against=setting,
                seeds=seeds,
                test=split == "test",
                opening=opening,
                run_settings=RunSettings(progress=progress),
            )
        show(console, *outcome(chosen, kind))


def _setting(workspace: Workspace, name: str | None) -> tuple[str, CrfParameters] | None:
    if name is None:
        return None
    from studies.commands.options.targets import crf_named
    from studies.commands.results.scaling import workspace_scaling

    return name, crf_named(workspace, name, workspace_scaling(workspace))


def outcome(workspace: Workspace, kind: StudyKind) -> list[Any]:
    """Lay out what a confirmation found, for the terminal."""
    from objectives.records.read import read_studies
    from reports.findings.confirmed import confirmed
    from reports.style.formatting import difference, interval, score
    from studies.commands.terminal.tables import FittingTable, inert

    again = confirmed(read_studies(workspace.root)[kind])
    assert again is not None, "it has just been stored"
    rows = [
        [
            f"{row.metric} on {row.split}",
            row.verdict,
            score(row.winner),
            score(row.baseline),
            difference(row.gain.value),
            interval(row.gain.low, row.gain.high),
        ]
        for row in again.rows
    ]
    return [
        inert(f"{kind}: {again.winner} against {again.baseline}"),
        FittingTable(["", "verdict", "winner", "baseline", "difference", "95 % interval"], rows, words=2),
        inert(again.sentence()),
        *(inert(f"A run failed: {reason}") for reason in again.unfinished),
    ]
