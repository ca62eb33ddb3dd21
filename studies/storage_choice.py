"""Where the studies of a workspace live: settled once, when they begin."""

from __future__ import annotations

from sonarseg.errors import UserError
from studies.server_storage import ServerAddress, asked_address, write_address
from studies.workspace import Workspace


def settle_storage(workspace: Workspace, option: str | None) -> None:
    """Note the server that was asked for in storage.toml; without one, the workspace's own file is used.

    Parameters
    ----------
    workspace : Workspace
    option : str or None
        What --storage said; the variable SONARSEG_STORAGE counts as well.

    Raises
    ------
    UserError
        Where the studies have begun elsewhere, or the address is wrong.
    """
    asked = asked_address(option, workspace.config.name)
    settled = workspace.database
    if asked is None:
        return
    if isinstance(settled, ServerAddress):
        if settled.url != asked.url:
            raise UserError(
                f"the studies of {workspace.root} are on {settled} (see {workspace.address_path}), "
                f"not on {asked}: leave --storage out, or start a new workspace."
            )
        return
    if workspace.database_path.is_file():
        raise UserError(
            f"the studies of {workspace.root} have begun in {workspace.database_path} and are not moved to "
            f"{asked}: leave --storage out, or start a new workspace."
        )
    write_address(workspace.address_path, asked)
