"""Command: look at a workspace's studies in Optuna Dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.commands.options.workspace import WorkspaceArgument, find_workspace

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from studies.workspace import Workspace


def dashboard(
    workspace: WorkspaceArgument = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Show this Optuna storage as it is (sqlite:///FILE, postgresql://...), without a workspace.",
            show_default=False,
        ),
    ] = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Artifacts of --storage.", show_default=False),
    ] = None,
) -> None:
    """Serve Optuna Dashboard, with notes, pictures and figures, until it is stopped with Ctrl-C.

    While a study runs, what has ended since is filled in every quarter of a minute.
    """
    from sonarseg.errors import UserError
    from studies.commands.dashboard_server import at_work

    if storage is not None and workspace is not None:
        raise UserError("A workspace and --storage were both given: leave one of them out.")
    if storage is None and artifacts is not None:
        raise UserError("--artifacts goes with --storage: a workspace has a folder of its own.")
    chosen = find_workspace(workspace) if storage is None else None
    with at_work(chosen):
        _serve(chosen, storage, host, port, artifacts)


def _serve(
    chosen: Workspace | None, storage: str | None, host: str, port: int, artifacts: Path | None
) -> None:
    import threading

    from studies.commands.dashboard_server import keep_filled, make_dashboard_server
    from studies.commands.terminal import phases
    from studies.commands.terminal.console import say
    from studies.storage.open import open_storage

    phases.now("opening the studies")
    opened = open_storage(chosen.database) if chosen else _open_url(str(storage))
    artifacts_dir = chosen.artifacts_dir if chosen else artifacts or Path("artifacts")
    report = chosen.report_path if chosen else None
    phases.now("starting Optuna Dashboard")
    server = make_dashboard_server(opened, host, port, artifacts_dir, report)
    stop = threading.Event()
    # Not in this thread: Ctrl-C in the middle of an answer would end the answer alone.
    threads = [threading.Thread(target=server.serve_forever)]
    if chosen is not None:
        threads.append(threading.Thread(target=keep_filled, args=(chosen, say, stop)))
    try:
        for thread in threads:
            thread.start()
        phases.rest()
        say(f"Optuna Dashboard: http://{host}:{port}/dashboard/ (stop with Ctrl-C)")
        threads[0].join()
    except KeyboardInterrupt:
        say("stopped")
    finally:
        stop.set()
        server.shutdown()
        for thread in threads:
            thread.join()
        server.server_close()


def _open_url(url: str) -> BaseStorage:
    """Open a storage that exists; UserError without the URL, which may hold a password, if there is none."""
    import optuna
    import sqlalchemy

    from sonarseg.errors import UserError

    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).is_file():
        raise UserError(f"{path} is missing: --storage shows a storage that exists.")
    try:
        return optuna.storages.get_storage(_complete(url))
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
        raise UserError(
            f"--storage cannot be opened ({type(error).__name__}): expected the URL of an Optuna storage, "
            "sqlite:///FILE or postgresql://USER@HOST/DATABASE."
        ) from None


def _complete(url: str) -> str:
    """Add the password of a server from the environment; on the command line none is taken."""
    from sqlalchemy.engine import make_url

    from studies.server_address import asked_address, refuse_password, with_password

    named = make_url(url)
    if named.get_backend_name() == "postgresql" and (address := asked_address(url, "")) is not None:
        return with_password(address).render_as_string(hide_password=False)
    refuse_password(named)
    return url
