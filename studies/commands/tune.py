"""Commands: run the studies of a workspace."""

from __future__ import annotations

from studies.commands.workspace_choice import WorkspaceArgument, find_workspace


def crf(workspace: WorkspaceArgument = None) -> None:
    """Tune the dense CRF, from the warm-up run on; the same command resumes."""
    _tune(workspace, "crf")


def loss(workspace: WorkspaceArgument = None) -> None:
    """Tune the loss, on the pseudo-labels of the best CRF; the same command resumes."""
    _tune(workspace, "loss")


def both(workspace: WorkspaceArgument = None) -> None:
    """Run both studies, write the report and the best model's maps; the same command resumes."""
    _tune(workspace, "all")


def _tune(named: WorkspaceArgument, what: str) -> None:
    from studies.commands.console import ConsoleProgress, console
    from studies.commands.ending import ending
    from studies.commands.finish import write_results
    from studies.commands.predict import predict
    from studies.commands.tables import inert, show
    from studies.pipeline import Machinery, tune_crf, tune_loss

    workspace = find_workspace(named)
    with ConsoleProgress() as progress:
        machinery = Machinery(progress=progress)
        if what in ("crf", "all"):
            tune_crf(workspace, machinery)
        if what in ("loss", "all"):
            tune_loss(workspace, machinery)
    if what == "all":
        predict(workspace.root)
    report = write_results(workspace)
    show(console, *ending(workspace), inert(f"Report: {report}"))
