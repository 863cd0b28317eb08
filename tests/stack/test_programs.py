"""A program never outlives the one that started it, and a failure says what its log says."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from stack.errors import Missing
from stack.programs import Program, ask_to_stop, await_ready, run, running, start, wait_or_kill
from tests.stack.conftest import eventually, is_alive


def program(folder: pathlib.Path, source: str, *words: str) -> Program:
    """Return a Python program of a few lines."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(source))
    return Program(name="program", command=(sys.executable, str(path), *words), log=folder / "program.log")


SLEEPER = "import time; print('up', flush=True); time.sleep(600)"


def test_a_program_dies_when_the_one_that_started_it_is_killed(tmp_path: pathlib.Path) -> None:
    parent = f"""
        import pathlib, sys, time
        from stack.programs import Program, start
        child = start(Program(name="child", command=(sys.executable, "-c", {SLEEPER!r}), log=pathlib.Path("child.log")))
        print(child.pid, flush=True)
        time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(parent)]
    started = subprocess.Popen(command, cwd=tmp_path, env=_with_our_path(), stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    child = psutil.Process(int(started.stdout.readline()))
    eventually(lambda: (tmp_path / "child.log").read_text() == "up\n")
    assert is_alive(child)
    started.kill()
    started.communicate()
    eventually(lambda: not is_alive(child), seconds=2)


def _with_our_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent.parent.parent)}


def test_a_program_that_ignores_the_polite_signal_is_ended_by_force(tmp_path: pathlib.Path) -> None:
    stubborn = program(
        tmp_path,
        """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", flush=True)
        time.sleep(600)
        """,
    )
    child = start(stubborn)
    eventually(lambda: stubborn.log.read_text() == "up\n")
    began = time.monotonic()
    ask_to_stop(child, stubborn)
    wait_or_kill(child, grace_seconds=0.3)
    assert child.returncode == -signal.SIGKILL
    assert 0.3 <= time.monotonic() - began < 5


def test_a_program_that_never_starts_is_named_with_what_it_said(tmp_path: pathlib.Path) -> None:
    broken = program(tmp_path, "import sys; sys.exit('no such database')")
    with pytest.raises(Missing, match=r"program ended with status 1: no such database"):
        await_ready(start(broken), broken, lambda _: False, timeout_seconds=10)


def test_a_program_that_is_never_ready_is_given_up(tmp_path: pathlib.Path) -> None:
    silent = program(tmp_path, SLEEPER)
    with (
        pytest.raises(Missing, match=r"program is not ready after 0 s"),
        running(silent, lambda _: False, timeout_seconds=0.1),
    ):
        pytest.fail("it was never ready")


def test_a_program_that_does_not_exist_is_named(tmp_path: pathlib.Path) -> None:
    absent = Program(name="absent", command=("/no/such/program",), log=tmp_path / "absent.log")
    with pytest.raises(Missing, match=r"absent failed with status 1: /no/such/program: No such file"):
        run(absent)


def test_a_program_gets_its_input_its_variables_and_a_private_log(tmp_path: pathlib.Path) -> None:
    source = "import os, sys; print(os.environ['STONKS_MODE'], sys.stdin.read())"
    speaking = Program(
        name="speaking",
        command=(sys.executable, "-c", source),
        log=tmp_path / "speaking.log",
        variables={"STONKS_MODE": "paper"},
    )
    run(speaking, stdin="hello")
    assert speaking.log.read_text() == "paper hello\n"
    assert speaking.log.stat().st_mode & 0o777 == 0o600


def test_the_variables_of_a_program_are_not_shown(tmp_path: pathlib.Path) -> None:
    secret = Program(name="x", command=("x",), log=tmp_path, variables={"STONKS_API_TOKEN_ARMER": "canary"})
    assert "canary" not in repr(secret)
