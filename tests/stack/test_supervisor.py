"""The supervisor keeps its programs up, later and later the more often they die, and ends them in order."""

import pathlib
import sys
import time
from collections.abc import Iterator

import pytest

from stack.errors import Missing
from stack.programs import Program
from stack.supervisor import Service, Supervisor
from tests.stack.conftest import eventually

STEADY = "import time; time.sleep(600)"
# Writes a line into the file that its first argument names when it is told to end. It waits for the signal itself: one
# that comes to a handler just before a sleep begins would be heard after it.
LAST_WORDS = """
import pathlib, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
pathlib.Path(sys.argv[1] + "." + sys.argv[2]).touch()
signal.sigwait({signal.SIGTERM})
with open(sys.argv[1], "a") as file:
    file.write(sys.argv[2] + "\\n")
"""


def service(folder: pathlib.Path, name: str, source: str, *words: str, foundation: bool = False) -> Service:
    command = (sys.executable, "-c", source, *words)
    return Service(Program(name=name, command=command, log=folder / f"{name}.log"), lambda _: True, foundation)


def pid(service: Service) -> int:
    assert service.child is not None
    return service.child.pid


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(said.append)
    yield supervisor
    supervisor.stop(grace_seconds=1)


def test_a_dead_program_is_started_again_at_once(
    supervisor: Supervisor, said: list[str], tmp_path: pathlib.Path
) -> None:
    worker = service(tmp_path, "worker", STEADY)
    supervisor.start(worker)
    first = pid(worker)
    assert worker.child is not None
    worker.child.kill()
    worker.child.wait()
    supervisor.keep_up()
    assert pid(worker) != first
    assert said == [f"worker (pid {first}) was ended by SIGKILL, started again in 0.0 s"]


def test_a_program_that_keeps_dying_is_started_later_and_later(
    supervisor: Supervisor, said: list[str], tmp_path: pathlib.Path
) -> None:
    supervisor.start(service(tmp_path, "worker", "raise SystemExit(7)"))
    deadline = time.monotonic() + 4
    supervisor.watch(lambda: len(said) >= 4 or time.monotonic() > deadline)
    assert [line.rpartition("ended with ")[2] for line in said[:4]] == [
        "status 7, started again in 0.0 s",
        "status 7, started again in 0.5 s",
        "status 7, started again in 1.0 s",
        "status 7, started again in 2.0 s",
    ]


def test_one_that_dies_does_not_disturb_the_others(supervisor: Supervisor, tmp_path: pathlib.Path) -> None:
    steady, dying = service(tmp_path, "steady", STEADY), service(tmp_path, "dying", "raise SystemExit(1)")
    supervisor.start(steady)
    supervisor.start(dying)
    before = pid(steady)
    deadline = time.monotonic() + 1
    supervisor.watch(lambda: time.monotonic() > deadline)
    assert pid(steady) == before


def test_one_that_dies_before_it_is_ready_is_given_up_with_what_it_said(
    supervisor: Supervisor, tmp_path: pathlib.Path
) -> None:
    broken = service(tmp_path, "worker", "raise SystemExit('no such module')")
    broken.is_ready = lambda _: False
    supervisor.start(broken)
    with pytest.raises(Missing, match=r"worker does not start: .*no such module"):
        supervisor.await_ready(broken, timeout_seconds=20)


def test_the_programs_end_first_and_then_what_they_lean_on(supervisor: Supervisor, tmp_path: pathlib.Path) -> None:
    words = tmp_path / "words"
    names = {"kafka": True, "worker": False, "postgres": True, "api": False}
    for name, foundation in names.items():
        supervisor.start(service(tmp_path, name, LAST_WORDS, str(words), name, foundation=foundation))
    eventually(lambda: all((tmp_path / f"words.{name}").exists() for name in names))
    supervisor.stop()
    ended = words.read_text().split()
    assert set(ended[:2]) == {"worker", "api"}
    assert set(ended[2:]) == {"kafka", "postgres"}
