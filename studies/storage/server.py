"""Studies in a PostgreSQL server, for workers on several machines, whose restart they wait for."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage

from sonarseg.errors import UserError
from studies.server_address import ServerAddress, with_password
from studies.storage.shared_database import StudyDatabase

# A worker beats this often.
HEARTBEAT_SECONDS = 30
# So long a worker waits for a server that was there and is away.
PATIENCE_SECONDS = 600
# A worker that has not beaten for so long is dead: one that still waited for the server would have given up.
GRACE_SECONDS = PATIENCE_SECONDS + 4 * HEARTBEAT_SECONDS
_log = logging.getLogger(__name__)
# Addresses that let this process in: one that does not answer later is away, not wrong.
_let_in: set[str] = set()
_AWAY = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.PendingRollbackError,
)
Answer = TypeVar("Answer")


def await_server(location: Path | ServerAddress) -> None:
    """Wait for a server that is known to have let another process in; a file is there.

    Raises
    ------
    UserError
        Where it does not let us in.
    """
    if isinstance(location, ServerAddress):
        _let_in.add(location.url)
        open_server(location).engine.dispose()


def open_server(address: ServerAddress) -> RDBStorage:
    """Connect to the server: the first time at once or not at all, later also after its restart.

    Raises
    ------
    UserError
        Where the driver is missing or the server does not let us in.
    """
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise UserError(
            "PostgreSQL needs the package psycopg: install it with `pip install 'sonarseg[cluster]'`."
        ) from error
    # The trial loop beats by itself, see studies/trials/heartbeat.py.
    warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used")

    def connect() -> RDBStorage:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return PatientStorage(
                    with_password(address).render_as_string(hide_password=False),
                    engine_kwargs={"pool_pre_ping": True},
                    heartbeat_interval=HEARTBEAT_SECONDS,
                    grace_period=GRACE_SECONDS,
                )
        except sqlalchemy.exc.OperationalError as error:
            if _wants_another_password(error):
                raise _unusable(address, error) from None
            raise

    try:
        storage = wait_for_server(connect) if address.url in _let_in else connect()
        _let_in.add(address.url)
        return storage
    except (sqlalchemy.exc.OperationalError, StorageInternalError) as error:
        raise _unusable(address, error) from None


def _unusable(address: ServerAddress, error: BaseException) -> UserError:
    return UserError(
        f"the storage {address} cannot be used ({_first_line(error)}): check address, user and password, "
        "and that the server runs."
    )


def _wants_another_password(error: BaseException) -> bool:
    """Whether the server is there, and took no password or not this one."""
    connection = getattr(getattr(error, "orig", None), "pgconn", None)
    return connection is not None and bool(connection.needs_password or connection.used_password)


def _first_line(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error.__cause__ or error
    return str(getattr(original, "orig", original)).strip().split("\n")[0]


def wait_for_server(attempt: Callable[[], Answer]) -> Answer:
    """Repeat an attempt while the server is away, up to `PATIENCE_SECONDS`.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError or StorageInternalError
        What the attempt raised, where the server was there or did not come back.
    """
    deadline, pause, told = time.monotonic() + PATIENCE_SECONDS, 0.5, False
    while True:
        try:
            return attempt()
        except (*_AWAY, StorageInternalError) as error:
            if not _is_away(error) or time.monotonic() > deadline:
                raise
            if not told:
                _log.warning("the database does not answer (%s); waiting for it.", _first_line(error))
                told = True
        time.sleep(pause)
        pause = min(2 * pause, 10.0)


def _patiently(name: str) -> Callable[..., Any]:
    """Let a method of the storage wait for the server."""
    method: Callable[..., Any] = getattr(StudyDatabase, name)

    @wraps(method)
    def patient(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        tries = 0

        def attempt() -> Any:
            nonlocal tries
            tries += 1
            try:
                return method(self, *args, **kwargs)
            except UpdateFinishedTrialError:
                # Told before, and only the answer was lost.
                if tries > 1 and name == "set_trial_state_values":
                    return True
                raise

        return wait_for_server(attempt)

    return patient


def _is_away(error: BaseException) -> bool:
    """Whether the server could not be reached or hung up, rather than refused what it was asked.

    `PendingRollbackError` is what Optuna gets where it asks again in the session that lost its server.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _AWAY):
            return True
        cause = cause.__cause__
    return False


class PatientStorage(StudyDatabase):
    """Optuna's storage on a server whose restart no worker notices but by waiting."""


for _name in (
    "get_all_studies",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "set_study_user_attr",
    "set_study_system_attr",
    "create_new_trial",
    "_create_new_trial",
    "_set_trial_param",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial",
    "get_all_trials",
    "_get_trials",
    "get_trial_id_from_study_id_trial_number",
    "record_heartbeat",
    "_get_stale_trial_ids",
):
    setattr(PatientStorage, _name, _patiently(_name))
