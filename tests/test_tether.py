"""A stack that a test started by `tethered` ends with a pytest that is killed."""

import pathlib
import subprocess
import sys

import psutil

from tests.stack.conftest import eventually, is_alive

PARENT = """
import subprocess, sys, time
from tests.tether import tethered
print(subprocess.Popen(tethered(sys.executable, "-c", "import time; time.sleep(600)")).pid, flush=True)
time.sleep(600)
"""


def test_a_tethered_program_ends_with_a_parent_that_is_killed() -> None:
    root = pathlib.Path(__file__).parents[1]
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=root, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    eventually(lambda: "time.sleep(600)" in child.cmdline()[-1])  # it has become what it is to be
    assert is_alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually(lambda: not is_alive(child))
