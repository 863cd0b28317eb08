"""Programs of the tests end with pytest, however it ends: by itself, by Ctrl-C, by SIGTERM, killed."""

import os
import pathlib
import signal

TETHER = pathlib.Path(__file__).parents[1] / "stack" / "tether.py"


def tethered(python: str, *words: str) -> list[str]:
    """Return the command line of a program, by its absolute path, that the kernel kills when this process is gone.

    Start it from the main thread: it is that thread's end that the kernel looks at.
    """
    return [python, "-I", "-S", str(TETHER), str(os.getpid()), str(int(signal.SIGKILL)), "", python, *words]
