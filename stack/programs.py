"""A program that runs beside us: how to start it, so that it never outlives us, and how to end it."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO

from stack.errors import Missing
from streams.settings import environment

TETHER = pathlib.Path(__file__).with_name("tether.py")
LOG_BYTES = 16 * 1024 * 1024  # a longer log is put aside at the next start


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """Hold a command line, the variables it gets besides ours, and how it wants to be ended.

    `stop_signal` is the polite way, `death_signal` what the kernel sends when this process dies. `user` is empty for
    our own. The working directory is entered before the user is changed.
    """

    name: str
    command: tuple[str, ...]
    log: pathlib.Path
    variables: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)
    cwd: pathlib.Path | None = None
    user: str = ""
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL


def start(program: Program) -> subprocess.Popen[bytes]:
    """Start the program in its own session; it dies with the thread that calls this, so call it from the main one."""
    with contextlib.suppress(FileNotFoundError):
        if program.log.stat().st_size > LOG_BYTES:
            program.log.replace(program.log.with_suffix(".log.1"))
    with _open_log(program) as log:
        return subprocess.Popen(
            _tethered(program, program.death_signal),
            cwd=program.cwd,
            env=environment(program.variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on, in order
        )


def run(program: Program, *, stdin: str = "", timeout_seconds: float = 120) -> None:
    """Run the program to its end; raise `Missing` with the last lines of its log when it fails."""
    finished = subprocess.run(
        _tethered(program, signal.SIGKILL),
        cwd=program.cwd,
        env=environment(program.variables),
        input=stdin.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_seconds,
        check=False,
    )
    with _open_log(program) as log:
        log.write(finished.stdout)
    if finished.returncode:
        raise Missing(f"{program.name} failed with status {finished.returncode}: {last_lines(program.log)}")


def await_ready(
    child: subprocess.Popen[bytes], program: Program, is_ready: Callable[[int], bool], *, timeout_seconds: float = 60
) -> None:
    """Wait until `is_ready` says so of the process.

    Raises `Missing`, with the last lines of the log, when the program ends or takes too long.
    """
    deadline = time.monotonic() + timeout_seconds
    while not is_ready(child.pid):
        if child.poll() is not None:
            raise Missing(f"{program.name} ended with status {child.returncode}: {last_lines(program.log)}")
        if time.monotonic() > deadline:
            raise Missing(f"{program.name} is not ready after {timeout_seconds:.0f} s: see {program.log}")
        time.sleep(0.05)


def ask_to_stop(child: subprocess.Popen[bytes], program: Program) -> None:
    """Send the program its polite signal; it may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(program.stop_signal)


def wait_or_kill(child: subprocess.Popen[bytes], *, grace_seconds: float) -> None:
    """Return when the program is gone: by itself within `grace_seconds`, then by force."""
    try:
        child.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextlib.contextmanager
def running(
    program: Program, is_ready: Callable[[int], bool], *, timeout_seconds: float = 60
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program, wait until it is ready, and stop it at the end."""
    child = start(program)
    try:
        await_ready(child, program, is_ready, timeout_seconds=timeout_seconds)
        yield child
    finally:
        ask_to_stop(child, program)
        wait_or_kill(child, grace_seconds=10)


def last_lines(log: pathlib.Path, *, lines: int = 3) -> str:
    """Return the last lines of a log in one line, and where the rest is."""
    try:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        tail = []
    return " | ".join(line.strip() for line in tail if line.strip()) + f" (all of it in {log})"


def _tethered(program: Program, death_signal: signal.Signals) -> list[str]:
    python = (sys.executable, "-I", "-S")  # nothing of ours is imported: 20 ms
    return [*python, str(TETHER), str(os.getpid()), str(int(death_signal)), program.user, *program.command]


def _open_log(program: Program) -> IO[bytes]:
    return open(os.open(program.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab")
