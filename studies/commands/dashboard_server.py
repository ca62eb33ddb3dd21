"""Serves Optuna Dashboard and the workspace's report, and fills the dashboard in while a study runs."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage
from optuna_dashboard import wsgi

from objectives.records import attributes as attr
from objectives.records.study import StudyKind
from reports.dashboard.notes import REPORT_ADDRESS, write_dashboard_notes
from sonarseg.errors import UserError
from studies.commands.results.scaling import has_warm_up, workspace_scaling
from studies.commands.terminal.errors import explain
from studies.previews.trials import write_trial_pictures
from studies.stages.superseded import is_superseded
from studies.storage.open import present_studies
from studies.storage.single_host import only_machine
from studies.storage.snapshot import refresh_snapshot, studies_on_server
from studies.workspace import Workspace

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
FILL_SECONDS = 15.0


def make_dashboard_server(
    storage: BaseStorage, host: str, port: int, artifacts_dir: Path, report: Path | None
) -> WSGIServer:
    """Listen; `serve_forever` then serves.

    Parameters
    ----------
    storage : BaseStorage
        What is shown.
    host, port : str and int
        Where to listen.
    artifacts_dir : Path
        Folder of the artifact store.
    report : Path or None
        File that is served as `/report.html`.

    Raises
    ------
    UserError
        Where another program listens there, or the address is not this machine's.
    """
    dashboard = wsgi(storage, artifact_store=FileSystemArtifactStore(artifacts_dir))
    try:
        return make_server(host, port, with_report(dashboard, report), handler_class=_Quiet)
    except OSError as error:
        what = "another --port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "another --host"
        reason = error.strerror or str(error)
        raise UserError(f"{host}:{port} cannot be listened on ({reason}): choose {what}.") from error


def with_report(dashboard: Application, report: Path | None) -> Application:
    """Serve the report beside the dashboard, as it is at that moment."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != REPORT_ADDRESS:
            return dashboard(environ, start_response)
        if report is None or not report.is_file():
            start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"There is no report yet: `sonarseg report` writes it.\n"]
        content = report.read_bytes()
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(content)))]
        start_response("200 OK", headers)
        return [content]

    return application


class _Quiet(WSGIRequestHandler):
    """Says nothing about every request: the terminal is for what a person must know."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def at_work(workspace: Workspace | None) -> AbstractContextManager[None]:
    """Keep other machines out while the dashboard may write into the studies of a workspace."""
    if workspace is None or not os.access(workspace.root, os.W_OK):
        return nullcontext()
    return only_machine(workspace)


def keep_filled(workspace: Workspace, say: Callable[[str], None], stop: threading.Event) -> None:
    """Fill the dashboard in, again and again until told to stop.

    Parameters
    ----------
    workspace : Workspace
        With a database.
    say : callable
        Given a sentence where something cannot be shown; each sentence once.
    stop : threading.Event
        Ends the work.
    """
    if not os.access(workspace.root, os.W_OK):
        say(f"{workspace.root} is read-only: the dashboard shows the notes and pictures that are there.")
        return
    said: set[str] = set()
    filled: object = None
    opened: dict[StudyKind, optuna.Study] | None = None
    shown = set[int]()
    while not stop.is_set():
        try:
            if opened is None:
                opened = studies_on_server(workspace)
            elif any(is_superseded(study) for study in opened.values()):
                opened, filled = studies_on_server(workspace), None
            shown = _ids(opened or present_studies(workspace.database))
            state = _state(workspace.database_path) if opened is None else _ended(opened)
            if state != filled:
                refresh_snapshot(workspace)
                fill(workspace, stop, opened)
                filled = state
        except Exception as error:
            explained = explain(error)
            if explained is None:
                # Optuna's word for a study that somebody has removed meanwhile: the rest is filled in next.
                if not isinstance(error, KeyError) or shown <= _ids(present_studies(workspace.database)):
                    raise
                opened = filled = None
            elif explained[0] not in said:
                said.add(explained[0])
                say(explained[0])
        stop.wait(FILL_SECONDS)


def _ids(studies: Mapping[StudyKind, optuna.Study]) -> set[int]:
    return {study._study_id for study in studies.values()}


def _state(database: Path) -> list[tuple[int, int]]:
    """Tell the database from what it was before something was written."""
    found: list[tuple[int, int]] = []
    for path in (database, database.with_name(database.name + "-wal")):
        # The journal goes with the last program that had the database open.
        with suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size))
    return found


def _ended(studies: Mapping[StudyKind, optuna.Study]) -> list[object]:
    """Tell studies on a server from what they were before something ended or was confirmed."""
    found: list[object] = []
    for study in studies.values():
        trials = study.get_trials(deepcopy=False)
        found.append((len(trials), sum(trial.state.is_finished() for trial in trials)))
        found.append(study.user_attrs.get(attr.CONFIRM, {}).get("time"))
    return found


def fill(
    workspace: Workspace, stop: threading.Event, opened: Mapping[StudyKind, optuna.Study] | None = None
) -> None:
    """Write notes, figures and pictures of the trials that have ended since.

    They go into the workspace's own file, or into the `opened` studies where those live on a server.
    """
    write_dashboard_notes(workspace.root, opened)
    if has_warm_up(workspace) and (workspace.cams_dir / "val").is_dir():
        write_trial_pictures(workspace, workspace_scaling(workspace), lambda: not stop.is_set(), opened)
