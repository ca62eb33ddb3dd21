"""Studies in a file and a second machine: refused while the first works, let in when it does not."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sonarseg.errors import UserError
from sonarseg.processes.identity import process_identity
from studies.commands.dashboard_server import at_work
from studies.confirmation.confirm import confirm
from studies.pipeline import tune_crf
from studies.server_address import ServerAddress, write_address
from studies.stages.run_settings import RunSettings
from studies.storage import single_host
from studies.storage.open import load_study
from studies.storage.openings import log_test_opening
from studies.storage.single_host import SIGN, STALE_SECONDS, only_machine
from studies.workspace import Workspace

HOLD = (
    "import sys, time; from pathlib import Path; from studies.storage.single_host import only_machine;"
    "from studies.workspace import Workspace\n"
    "with only_machine(Workspace(Path(sys.argv[1]))):\n"
    "    print('at work', flush=True); time.sleep(60)\n"
)


def signed(workspace: Workspace, host: str, age: float) -> Path:
    path = workspace.root / SIGN
    path.write_text(json.dumps({"host": host}))
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_trials_are_refused_while_another_machine_works(
    workspace: Workspace, run_settings: RunSettings
) -> None:
    path = signed(workspace, "ship", STALE_SECONDS - 5)
    with pytest.raises(UserError, match=r"worked on by the machine ship .* docs/cluster\.md"):
        tune_crf(workspace, run_settings)
    assert path.is_file()
    signed(workspace, "ship", STALE_SECONDS + 1)
    assert tune_crf(workspace, run_settings).trials
    assert not path.exists()


def signs(workspace: Workspace) -> list[Path]:
    return sorted(workspace.root.glob(f"{SIGN}*"))


def test_nothing_is_written_while_another_machine_works(
    workspace: Workspace, run_settings: RunSettings
) -> None:
    signed(workspace, "ship", 0)
    before = sorted(workspace.root.iterdir())
    with pytest.raises(UserError, match="worked on by the machine ship"):
        tune_crf(workspace, run_settings)
    assert sorted(workspace.root.iterdir()) == before


@pytest.mark.parametrize("machine", ["another boot", "this boot pid:[1]"])
def test_a_container_of_the_same_host_name_is_another_machine(workspace: Workspace, machine: str) -> None:
    identity = process_identity(os.getpid()) | {"machine": machine}
    (workspace.root / f"{SIGN}-1").write_text(json.dumps(identity))
    with (
        pytest.raises(UserError, match=r"worked on by another machine or container called .* too \("),
        only_machine(workspace),
    ):
        pytest.fail("it was let in")
    assert signs(workspace) == [workspace.root / f"{SIGN}-1"]


def test_what_else_writes_into_the_studies_is_refused_too(tuned: Workspace) -> None:
    signed(tuned, "ship", 0)
    with pytest.raises(UserError, match="worked on by the machine ship"):
        log_test_opening(tuned, "runs/loss-0001")
    with pytest.raises(UserError, match="worked on by the machine ship"):
        confirm(tuned, "crf")
    with pytest.raises(UserError, match="worked on by the machine ship"), at_work(tuned):
        pytest.fail("the dashboard was let in")
    study = load_study(tuned.database_path, "crf")
    assert study.user_attrs["test_openings"] == []
    assert "confirm" not in study.user_attrs


def test_signs_that_are_out_of_date_are_removed(workspace: Workspace) -> None:
    signed(workspace, "ship", STALE_SECONDS + 1)
    with only_machine(workspace):
        (own,) = signs(workspace)
    assert own.name != SIGN


def test_a_really_different_machine(workspace: Workspace) -> None:
    """By a name space of host names of its own."""
    script = 'hostname ship && exec "$@"'
    command = ["unshare", "-u", "sh", "-c", script, "sh", sys.executable, "-c", HOLD, str(workspace.root)]
    try:
        other = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare command")
    assert other.stdout is not None
    if other.stdout.readline() != "at work\n":
        pytest.skip(f"no host name of its own is allowed here: {other.communicate()[1].strip()}")
    try:
        with pytest.raises(UserError, match="the machine ship"), only_machine(workspace):
            pytest.fail("it was let in")
    finally:
        other.kill()
        other.communicate()


def test_workers_of_one_machine_do_not_mind_each_other(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_host, "BEAT_SECONDS", 0.02)
    with only_machine(workspace):
        (first,) = signs(workspace)
        with only_machine(workspace):
            assert len(signs(workspace)) == 2
        # At no moment is the worker that is left without a sign.
        assert signs(workspace) == [first]
        os.utime(first, (0, 0))
        end = time.monotonic() + 10
        while first.stat().st_mtime == 0:
            assert time.monotonic() < end, "the worker that is left gives no sign any more"
            time.sleep(0.01)
    assert signs(workspace) == []


def test_on_a_server_any_machine_may_work(workspace: Workspace) -> None:
    write_address(workspace.address_path, ServerAddress("postgresql://sonar@127.0.0.1:1/none", "bay"))
    signed(workspace, "ship", 0)
    with only_machine(workspace):
        pass
    assert json.loads((workspace.root / SIGN).read_text()) == {"host": "ship"}
