import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from studies.storage.open import create_database
from studies.workspace import Workspace
from tests.support.toy_study import ATTRS, toy_workspace


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """A workspace with an empty crf study in its own file."""
    workspace = toy_workspace(tmp_path)
    create_database(workspace.database_path, {"crf": ATTRS})
    return workspace


@dataclass(frozen=True)
class Postgres:
    """A server of this test run."""

    bin: Path
    data: Path
    port: int
    user: str | None

    @property
    def url(self) -> str:
        return f"postgresql://sonar@127.0.0.1:{self.port}/postgres"

    def control(self, *arguments: str) -> None:
        command = [
            str(self.bin / "pg_ctl"),
            "-D",
            str(self.data),
            "-w",
            "-l",
            str(self.data / "log"),
            *arguments,
        ]
        subprocess.run(command, check=True, capture_output=True, user=self.user, cwd="/")

    def start(self) -> None:
        self.control(
            "-o", f"-p {self.port} -k {self.data} -c fsync=off -c listen_addresses=127.0.0.1", "start"
        )

    def stop(self) -> None:
        self.control("-m", "immediate", "stop")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server on the loopback, with a password."""
    pytest.importorskip("psycopg", reason="the package psycopg is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server is installed (Debian: apt install postgresql)")
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="sonarseg-postgres-"))
    (folder / "password").write_text("deep water")
    if user is not None:
        shutil.chown(folder, user)
        shutil.chown(folder / "password", user)
    server = Postgres(found[-1].parent, folder / "data", _free_port(), user)
    initdb = [
        str(server.bin / "initdb"),
        *("-D", str(server.data), "-U", "sonar", "-A", "scram-sha-256"),
        *("--pwfile", str(folder / "password"), "-E", "UTF8", "--locale=C"),
    ]
    subprocess.run(initdb, check=True, capture_output=True, user=user, cwd="/")
    server.start()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PGPASSWORD", "deep water")
        yield server
    server.stop()
    shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
