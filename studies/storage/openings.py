"""Every opening of the test split's masks is logged in both studies."""

from __future__ import annotations

from datetime import UTC, datetime

from objectives.records import attributes as attr
from studies.storage.open import has_studies, present_studies, storage_errors
from studies.storage.single_host import only_machine
from studies.workspace import Workspace


def log_test_opening(workspace: Workspace, what: str) -> None:
    """Write into both studies that the masks of the test split were opened.

    Parameters
    ----------
    workspace : Workspace
        Without a database yet, there is nothing to log into.
    what : str
        What was scored.

    Raises
    ------
    UserError
        If the database cannot be written to, or another machine works on it.
    """
    location = workspace.database
    if not has_studies(location):
        return
    entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "what": what}
    with only_machine(workspace), storage_errors(location):
        for study in present_studies(location).values():
            study.set_user_attr(attr.TEST_OPENINGS, [*study.user_attrs.get(attr.TEST_OPENINGS, []), entry])
