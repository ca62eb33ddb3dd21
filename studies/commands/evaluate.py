"""Command: score a run or a dense CRF setting on a split."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import typer

from studies.commands.options.workspace import WorkspaceOption, find_workspace

Split = Literal["val", "test"]


def evaluate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A run (folder, best, loss:N) or a CRF setting (tuned, crf:N, cam, no-crf, w-s3tseg, ...).",
        ),
    ],
    split: Annotated[
        Split, typer.Option(help="Masks to score against; test is logged in the study database.")
    ] = "val",
    workspace: WorkspaceOption = None,
) -> None:
    """Score TARGET against the masks of a split; the figures go to evaluations/ in the workspace too."""
    from sonarseg.files.whole import write_json
    from sonarseg.survey.checks.scored_classes import not_scored
    from studies.commands.results.scoring import score_target
    from studies.commands.terminal import phases
    from studies.commands.terminal.console import ConsoleProgress, console, say
    from studies.commands.terminal.scores_table import scores_table
    from studies.commands.terminal.tables import show

    chosen = find_workspace(workspace, option="-w ")
    phases.note_in(chosen, "evaluate")
    with ConsoleProgress() as progress:
        result = score_target(chosen, target, split, progress)
    path = chosen.root / "evaluations" / f"{file_name(target)}-{split}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, result)
    title = f"{target} on {split}"
    columns = {title: result["scores"], "best constant guess": result["constant_guess"]}
    show(console, scores_table(columns, result["unscored"]))
    if result["unscored"]:
        say(not_scored(result["unscored"], split))
    labels = "used" if result["uses_image_labels"] else "not used"
    say(f"{len(result['tiles'])} tiles, their image-level labels {labels}. Written to {path}")


def file_name(target: str) -> str:
    """Turn a target into the name of a file: a run's folder path is cut to its last part."""
    return re.sub(r"[^\w.-]+", "-", target.rstrip("/").rsplit("/", 1)[-1].lower()).strip("-.") or "run"
