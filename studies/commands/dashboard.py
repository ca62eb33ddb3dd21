"""Command: look at a workspace's studies in Optuna Dashboard."""

from __future__ import annotations

import errno
import socket
from typing import Annotated

import typer

from studies.commands.workspace_choice import WorkspaceArgument, find_workspace


def dashboard(
    workspace: WorkspaceArgument = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
) -> None:
    """Serve Optuna Dashboard on the workspace's database until it is stopped with Ctrl-C."""
    from optuna.artifacts import FileSystemArtifactStore
    from optuna_dashboard import run_server

    from studies.commands.console import console
    from studies.storage import open_storage

    chosen = find_workspace(workspace)
    storage = open_storage(chosen.database_path)
    chosen.artifacts_dir.mkdir(exist_ok=True)
    _refuse_address_in_use(host, port)
    console.print(f"Optuna Dashboard: http://{host}:{port}/dashboard/ (stop with Ctrl-C)")
    run_server(
        storage,
        host=host,
        port=port,
        artifact_store=FileSystemArtifactStore(chosen.artifacts_dir),
    )


def _refuse_address_in_use(host: str, port: int) -> None:
    """Try the address first: the server says that it listens before it finds out that it cannot.

    Raises
    ------
    UserError
        Where another program listens there, or the address is not this machine's.
    """
    from sonarseg.errors import UserError

    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        what = "another --port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "another --host"
        raise UserError(f"{host}:{port} cannot be listened on ({error.strerror}): choose {what}.") from error
