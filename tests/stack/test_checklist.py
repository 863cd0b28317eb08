"""What a person sees while a stack starts is never a reason to end it."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SAYS = "from stack.checklist import Checklist; seen = Checklist(); [seen.say('worker-1 died') for _ in range(3)]"


@pytest.mark.parametrize("place", ["/dev/full", "a closed pipe"])
def test_a_place_that_takes_no_more_text_ends_nothing(place: str) -> None:
    """A full disk ends as it came; a stack that had ended over its own log would not come back with the space."""
    reader, writer = os.pipe()
    os.close(reader)
    out = os.open(place, os.O_WRONLY) if place.startswith("/") else os.dup(writer)
    ran = subprocess.run([sys.executable, "-c", SAYS], cwd=ROOT, stdout=out, stderr=subprocess.PIPE, check=False)
    for opened in (writer, out):
        os.close(opened)
    assert (ran.returncode, ran.stderr) == (0, b"")
