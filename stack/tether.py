"""Become another program that dies with its parent. Run by path: `tether.py PARENT SIGNAL USER PROGRAM...`.

The kernel sends SIGNAL when the parent is gone, however it went. The order matters: a change of user clears the tether,
and a parent that died before the tether was set sends nothing, so that is looked at last.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Take on the user, tie this process to its parent, and turn into the program."""
    parent, death_signal, user, *program = sys.argv[1:]
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if user:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    if prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")
    try:
        os.execv(program[0], program)  # noqa: S606 - turning into a program is what this file is for
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


main()
