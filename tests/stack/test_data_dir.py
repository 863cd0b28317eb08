"""One `stonks up` at a time on a data directory, and what it writes down is whole and private."""

import json
import os
import pathlib
import stat
import subprocess
import sys

import pytest

from stack.data_dir import begin_demo, is_a_demo, is_in_use, locked, tokens
from stack.errors import DataDirInUse, Missing, StackError
from stack.files import make_private_dir, write_private
from streams.settings import Settings

HOLDER = """
import pathlib, sys, time
from stack.data_dir import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_directory_is_refused_while_another_process_has_it_and_free_when_that_is_killed(
    tmp_path: pathlib.Path,
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent.parent.parent)}
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(DataDirInUse, match=rf"with pid {holder.pid}:"), locked(tmp_path):
        pytest.fail("two have it")
    holder.kill()
    holder.communicate()
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_file_is_replaced_in_one_step_and_is_private(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "endpoints.json"
    path.write_text("old")
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["endpoints.json"]


def test_a_directory_without_rights_is_an_error_with_the_mend() -> None:
    with pytest.raises(Missing, match=r"no right to write to the directory .*STONKS_DATA_DIR"):
        make_private_dir(pathlib.Path("/proc/stonks"))


def test_tokens_are_made_when_none_is_given_and_kept(tmp_path: pathlib.Path) -> None:
    made = tokens(tmp_path, Settings())
    assert len(set(made.values())) == 3
    assert tokens(tmp_path, Settings()) == made == json.loads((tmp_path / "tokens.json").read_text())


def test_given_tokens_stand_alone_and_the_others_admit_nobody(tmp_path: pathlib.Path) -> None:
    tokens(tmp_path, Settings())
    given = tokens(tmp_path, Settings(api_token_operator="o"))
    assert given == {"viewer": "", "operator": "o", "armer": ""}
    assert not (tmp_path / "tokens.json").exists()


def test_a_demo_begins_anew_and_keeps_its_ports_and_tokens(tmp_path: pathlib.Path) -> None:
    begin_demo(tmp_path)
    assert is_a_demo(tmp_path)
    for name in ("kafka", "postgres"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log").write_text("old")
    (tmp_path / "worker-1").mkdir()
    left = ("api.log", "worker-1.log", "worker-1.log.1", "simulated-broker.sqlite", "simulated-broker.sqlite-wal")
    for name in ("ports.json", "tokens.json", "lock", "postgres-roles.json", *left):
        (tmp_path / name).write_text("{}")
    begin_demo(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"demo", "lock", "ports.json", "tokens.json"}


def test_a_demo_never_touches_a_stack_that_is_not_one(tmp_path: pathlib.Path) -> None:
    (tmp_path / "kafka").mkdir()
    with pytest.raises(StackError, match=r"holds a stack of yours"):
        begin_demo(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"kafka"}


@pytest.mark.parametrize("name", ["thesis.txt", "photos/2026.jpg", ".git/HEAD", "demo/notes.txt", "demo"])
def test_a_demo_removes_nothing_of_a_directory_that_no_demo_made(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    with pytest.raises(StackError, match=r"other files of yours .*STONKS_DATA_DIR"):
        begin_demo(tmp_path)
    assert (tmp_path / name).read_text() == "precious"


def test_what_a_person_put_beside_a_demo_stays_when_it_begins_anew(tmp_path: pathlib.Path) -> None:
    begin_demo(tmp_path)
    (tmp_path / "kafka").mkdir()
    (tmp_path / "report.txt").write_text("equity 502.35")
    begin_demo(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"demo", "report.txt"}


def test_a_directory_is_in_use_only_while_somebody_holds_it(tmp_path: pathlib.Path) -> None:
    assert not is_in_use(tmp_path)
    with locked(tmp_path):
        assert is_in_use(tmp_path)
    assert not is_in_use(tmp_path)


def test_a_directory_that_may_not_be_looked_into_is_not_taken_for_an_idle_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root started it, and an ordinary user asks: `no stack runs` would be the wrong word."""

    def refuse(path: pathlib.Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("stack.data_dir.open", refuse, raising=False)
    with pytest.raises(Missing, match=r"no right to look into .*STONKS_DATA_DIR"):
        is_in_use(tmp_path)
