"""What a person sees while a stack starts: one line a step with its time, drawn on a terminal, plain elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Fall silent when nobody can read any more: that is no reason to end a stack, which may hold positions."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Checklist:
    """Print each step when it is done."""

    def __init__(self) -> None:
        self._console = _Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time the block and print a line for it; strings that the block appends to the list stand behind it."""
        began = time.monotonic()
        remarks: list[str] = []
        with self._console.status(name) if self._console.is_terminal else contextlib.nullcontext():
            yield remarks
        self._line("ok", "green", f"{name:<16} {time.monotonic() - began:6.1f} s  {' '.join(remarks)}".rstrip())

    def say(self, text: str) -> None:
        """Print a line about something that happened while the stack runs."""
        self._line("..", "yellow", text)

    def done(self, text: str) -> None:
        """Print the closing line, with the time since the beginning."""
        self._line("ok", "bold green", f"{text} after {time.monotonic() - self._began:.1f} s")

    def _line(self, mark: str, style: str, text: str) -> None:
        try:
            self._console.print(f"[{style}]{mark}[/{style}] {escape(text)}")
        except OSError:  # a full disk, a terminal that was closed
            self._console.on_broken_pipe()
