"""A stack that a test started ends with a pytest that is killed, and its folder goes when the next one begins."""

import pathlib
import subprocess
import sys
import tempfile

import psutil
import pytest

from tests.integration.harness import Stack
from tests.stack.conftest import eventually, is_alive

PARENT = """
import subprocess, sys, time
from tests.tether import tethered
print(subprocess.Popen(tethered(sys.executable, "-c", "import time; time.sleep(600)")).pid, flush=True)
time.sleep(600)
"""
HOLDER = """
import time
from tests.integration.harness import Stack
print(Stack().folder, flush=True)
time.sleep(600)
"""
ROOT = pathlib.Path(__file__).parents[1]


def test_a_tethered_program_ends_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    eventually(lambda: "time.sleep(600)" in child.cmdline()[-1])  # it has become what it is to be
    assert is_alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually(lambda: not is_alive(child))


def test_the_folder_of_a_stack_stays_while_its_process_lives_and_goes_when_that_was_killed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    folder = pathlib.Path(holder.stdout.readline().strip())
    with Stack():
        assert folder.is_dir()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with Stack() as next_one:
        assert list(tmp_path.iterdir()) == [next_one.folder]
