"""Where the studies of a workspace live: settled once, when they begin."""

from __future__ import annotations

from sonarseg.errors import UserError
from studies.compatibility import check_compatible
from studies.server_address import ServerAddress, asked_address, write_address
from studies.storage.open import has_studies, load_study
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
    if isinstance(settled, ServerAddress) and (settled.url == asked.url or has_studies(settled)):
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
    if has_studies(asked):
        _refuse_other_studies(workspace, asked)
    write_address(workspace.address_path, asked)


def _refuse_other_studies(workspace: Workspace, address: ServerAddress) -> None:
    """Join studies of the same question only: workspaces of one survey tend to bear the same name."""
    try:
        check_compatible(
            load_study(address, "crf"), workspace.survey(), workspace.config, str(workspace.root)
        )
    except UserError as error:
        raise UserError(
            f"{address} holds studies called {address.name} already, of other settings than "
            f"{workspace.root} has: give this workspace another `name` in study.toml. ({error})"
        ) from error
