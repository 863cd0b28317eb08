"""What can go wrong on this machine. Each error says what is wrong and the mend, and knows the exit code of `stonks`.

StackError            2  wrong usage, or it could not run
+-- Missing           3  something is missing: a jar, the network, a program, a right, disk space
+-- PortTaken         4  a port is in use
+-- DataDirInUse      5  another `stonks up` works on the same data directory
"""


class StackError(Exception):
    """Say in one line what could not be done, and how to mend it."""

    exit_code = 2


class Missing(StackError):
    """Say what is missing or damaged on this machine."""

    exit_code = 3


class PortTaken(StackError):
    """Say which port another program has."""

    exit_code = 4


class DataDirInUse(StackError):
    """Say which process works on the data directory."""

    exit_code = 5
