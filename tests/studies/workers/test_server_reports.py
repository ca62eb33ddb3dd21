"""Confirm, report, export and dashboard where the studies live on a server."""

import json
import threading
import urllib.request
from pathlib import Path

import optuna
import pytest
from typer.testing import CliRunner

from objectives.records.attributes import CONFIRM
from objectives.records.read import read_studies
from objectives.records.study import REQUIRED
from studies.commands import dashboard_server
from studies.commands.dashboard_server import keep_filled, make_dashboard_server
from studies.commands.results.write import write_results
from studies.confirmation.confirm import confirm
from studies.main import app
from studies.server_address import ServerAddress, write_address
from studies.stages.run_settings import RunSettings
from studies.stages.superseded import restart, successor
from studies.storage.open import open_storage, remove_database, study_name
from studies.storage.snapshot import studies_on_server
from studies.workspace import Workspace


@pytest.fixture
def moved(tuned: Workspace, postgres) -> Workspace:  # type: ignore[no-untyped-def]
    """The workspace after its crf study, its studies on a server and nowhere else."""
    address = ServerAddress(postgres.url, "moved")
    source, server = open_storage(tuned.database_path), open_storage(address)
    for kind in REQUIRED:
        name = study_name(address, kind)
        optuna.copy_study(from_study_name=kind, from_storage=source, to_storage=server, to_study_name=name)
    source.engine.dispose()
    write_address(tuned.address_path, address)
    remove_database(tuned.database_path)
    return Workspace(tuned.root)


def pictures(study: optuna.Study) -> int:
    attrs = study._storage.get_study_system_attrs(study._study_id)
    return sum(key.startswith("dashboard:artifacts:") for key in attrs)


def has_note(study: optuna.Study) -> bool:
    attrs = study._storage.get_study_system_attrs(study._study_id)
    return any(key.startswith("dashboard:note") for key in attrs)


def test_all_that_looks_at_studies_reads_and_writes_the_server(
    moved: Workspace, run_settings: RunSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = confirm(moved, "crf", run_settings=run_settings)
    studies = studies_on_server(moved)
    assert studies is not None
    assert studies["crf"].user_attrs[CONFIRM] == record
    assert read_studies(moved.root)["crf"].attrs[CONFIRM] == record

    monkeypatch.setattr(dashboard_server, "FILL_SECONDS", 0.05)
    stop, said = threading.Event(), list[str]()
    thread = threading.Thread(target=keep_filled, args=(moved, said.append, stop))
    thread.start()
    complete = [trial for trial in studies["crf"].trials if trial.values]
    try:
        for _ in range(1200):
            if pictures(studies["crf"]) == len(complete):
                break
            stop.wait(0.05)
        first = complete[0]
        late = optuna.trial.create_trial(
            values=first.values,
            params=first.params,
            distributions=first.distributions,
            user_attrs={**first.user_attrs, "derived_from": first.number},
        )
        studies["crf"].add_trial(late)
        for _ in range(1200):
            if len(read_studies(moved.root)["crf"].trials) == len(complete) + 1:
                break
            stop.wait(0.05)
        restart(studies["loss"], "moved/loss, before", {}, first=0)
        anew = successor(studies["loss"])
        for _ in range(1200):
            if has_note(anew):
                break
            stop.wait(0.05)
    finally:
        stop.set()
        thread.join()
    assert said == []
    assert anew._study_id != studies["loss"]._study_id
    assert has_note(anew)
    assert pictures(studies["crf"]) >= len(complete)
    assert len(read_studies(moved.root)["crf"].trials) == len(complete) + 1

    server = make_dashboard_server(open_storage(moved.database), "127.0.0.1", 0, moved.artifacts_dir, None)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        host = f"http://127.0.0.1:{server.server_port}/api/studies"
        listed = {study["study_name"] for study in json.load(urllib.request.urlopen(host))["study_summaries"]}
        number = studies["crf"]._study_id
        shown = json.load(urllib.request.urlopen(f"{host}/{number}"))
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
    assert {"moved/crf", "moved/loss"} <= listed
    assert "# Dense CRF of" in shown["note"]["body"]
    assert [bool(trial["artifacts"]) for trial in shown["trials"][: len(complete)]] == [True] * len(complete)

    remove_database(moved.database_path)
    page = write_results(moved).read_text("utf-8")
    assert "On val winner and untuned baseline reach" in page
    assert record["winner"]["name"] in page
    remove_database(moved.database_path)
    written = CliRunner().invoke(app, ["export", str(moved.root), "-o", str(tmp_path / "out")])
    assert written.exit_code == 0, written.output
    assert len((tmp_path / "out" / "crf_trials.csv").read_text().splitlines()) == len(complete) + 2
