"""What a check of `stonks doctor` says: a text when all is well, a doubt, or an error that is raised.

A check is a function of the settings. `Missing` says what is not there, `Wrong` what is there but wrong, each with the
mend; none waits longer than its own timeout for anybody.
"""

from collections.abc import Callable, Mapping

from stack.errors import StackError
from streams.settings import Settings

Check = Callable[[Settings], str]
Checks = Mapping[str, Check]


class Wrong(StackError):
    """Say what is there but wrong."""

    exit_code = 1


class Doubtful(str):
    """Say what works and deserves a look: it fails nothing."""

    __slots__ = ()
