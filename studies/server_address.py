"""Where a PostgreSQL server of studies is named: `--storage`, a variable, or the workspace's storage.toml.

storage.toml holds no password. Passwords come from where every PostgreSQL program takes them (`PGPASSWORD`,
`~/.pgpass`), or with the whole address from the variable `SONARSEG_STORAGE`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import URL, make_url

from sonarseg.errors import UserError
from sonarseg.files.settings import read_settings
from sonarseg.files.whole import write_atomically

ADDRESS_VARIABLE = "SONARSEG_STORAGE"
# Parameters of an address, behind its "?", that libpq takes a password from
_PASSWORDS = ("password", "sslpassword")


@dataclass(frozen=True)
class ServerAddress:
    """Where the studies of a workspace are, when not in its own file.

    Attributes
    ----------
    url : str
        postgresql://USER@HOST:PORT/DATABASE, without a password.
    name : str
        What the workspace's studies are called there: NAME/crf and NAME/loss.
    """

    url: str
    name: str

    def __str__(self) -> str:
        """Address as a person may see it."""
        return self.url


# Where the studies are: their SQLite file, or a server
Location = Path | ServerAddress


def asked_address(option: str | None, name: str) -> ServerAddress | None:
    """Read the address that was asked for, on the command line or in the environment.

    Raises
    ------
    UserError
        Where it is no PostgreSQL address, or has a password where others can read it.
    """
    if option is not None:
        refuse_password(_parsed(option))
    text = option or os.environ.get(ADDRESS_VARIABLE)
    if not text:
        return None
    return ServerAddress(_without_password(_parsed(text)).render_as_string(), name)


def refuse_password(option: URL) -> None:
    """Refuse a password on the command line.

    Raises
    ------
    UserError
        Where the address holds one.
    """
    if _holds_password(option):
        raise UserError(
            "--storage holds a password, which every user of this machine can read in the process list: "
            "leave it out, and put it into ~/.pgpass or the variable PGPASSWORD, or the whole address into "
            f"{ADDRESS_VARIABLE}."
        )


def _parsed(text: str) -> URL:
    """Parse an address; the message of an error shows nothing of it, since it may hold a password.

    Raises
    ------
    UserError
        Where it is not postgresql://...
    """
    try:
        url = make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # A password without its host is taken for a port, which is no number: not even the cause is shown.
        raise UserError(
            "the address of the storage cannot be read: expected postgresql://USER@HOST:5432/DATABASE."
        ) from None
    if url.get_backend_name() != "postgresql" or not url.database:
        raise UserError(
            f"a storage of the kind {url.drivername} is not supported: expected "
            "postgresql://USER@HOST:5432/DATABASE, or no --storage for the workspace's own study.db."
        )
    return url.set(drivername="postgresql")


def _holds_password(url: URL) -> bool:
    return url != _without_password(url)


def _without_password(url: URL) -> URL:
    return url._replace(password=None).difference_update_query(_PASSWORDS)


def read_address(path: Path) -> ServerAddress | None:
    """Read storage.toml; None where there is none.

    Raises
    ------
    UserError
        Where it is damaged.
    """
    try:
        values, _ = read_settings(path)
    except FileNotFoundError:
        return None
    try:
        url, name = str(values["url"]), str(values["name"])
    except KeyError as error:
        raise UserError(
            f"{path} is damaged ({error}): expected the lines url = ... and name = ...."
        ) from error
    if _holds_password(_parsed(url)):
        raise UserError(
            f"{path} holds a password, which others may read: take it out of the line url = ..., and put it "
            "into ~/.pgpass or the variable PGPASSWORD."
        )
    return ServerAddress(url, name)


def write_address(path: Path, address: ServerAddress) -> None:
    """Write storage.toml."""
    url, name = (part.replace("\\", "\\\\").replace('"', '\\"') for part in (address.url, address.name))
    write_atomically(
        path,
        "# Where the studies of this workspace are; no password belongs here.\n"
        f'url = "{url}"\nname = "{name}"\n',
    )


def with_password(address: ServerAddress) -> URL:
    """Complete the address from the environment; libpq adds PGPASSWORD and ~/.pgpass by itself."""
    url = make_url(address.url)
    from_environment = os.environ.get(ADDRESS_VARIABLE)
    if from_environment:
        full = _parsed(from_environment)
        if _without_password(full) == url:
            url = full
    return url.set(drivername="postgresql+psycopg")
