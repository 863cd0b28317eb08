"""Which ports a stack has: chosen once a data directory, written down in `ports.json`, and kept over restarts."""

import collections
import contextlib
import errno
import pathlib
import secrets
import socket
import time
from collections.abc import Iterable

from stack.errors import Missing, PortTaken, StackError
from stack.files import read_json_object, write_private_json

LOOPBACK = "127.0.0.1"
FIRST, LAST = 20_000, 32_000  # below the range that systems hand out to clients: nobody sits on ours by chance
MOST_HELD = 200  # a stack needs a dozen; a long run of tests would use up its file descriptors

_held: collections.deque[socket.socket] = collections.deque()


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen on the port now (a client's TIME_WAIT does not count as taken).

    Raises `StackError` when none ever could, whoever else is there: for an address that is not this machine's, and for
    a port that is not for us.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError as error:
        raise Missing(f"no right to listen on port {port}: name one from 1024 on with STONKS_HTTP_PORT") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise StackError(
            f"nothing can listen at {host} ({error.strerror}): name an address of this machine with STONKS_HTTP_HOST"
        ) from error
    return True


def free_port(taken: Iterable[int] = ()) -> int:
    """Return a port on which nobody listens, none of `taken`, and none that another process was given or has claimed.

    It is held as `claim` does, so that nobody else is given it before, or between, the programs that listen on it.
    """
    refused = set(taken)
    for port in secrets.SystemRandom().sample(range(FIRST, LAST), LAST - FIRST):
        if port not in refused and _hold(port):
            return port
    raise PortTaken(f"no free port between {FIRST} and {LAST} on {LOOPBACK}: stop some programs that listen there")


def claim(port: int) -> None:
    """Let nobody be given this port by `free_port` while this process lives, also while nobody listens on it.

    Does nothing where somebody listens on it or holds it already.
    """
    _hold(port)


def _hold(port: int) -> bool:
    """Bind a socket that never listens to the port, and return whether it had been nobody's.

    It is bound for us alone, so that of two processes that want a port one gets it, and then shared with the servers
    that it waits for: they all ask for that (SO_REUSEADDR), and hear nothing of it.
    """
    holder = socket.socket()
    try:
        holder.bind((LOOPBACK, port))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError:
        holder.close()
        return False
    _held.append(holder)
    while len(_held) > MOST_HELD:
        _held.popleft().close()
    return True


def kept_ports(folder: pathlib.Path, names: Iterable[str], *, taken: Iterable[int] = ()) -> dict[str, int]:
    """Return a port for each name: the one chosen earlier for this folder, or a free one that is kept from now on.

    None that is chosen now is one of `taken`; all are claimed.
    """
    path = folder / "ports.json"
    ports: dict[str, int] = {
        name: port for name, port in read_json_object(path).items() if isinstance(port, int) and 0 < port < 65536
    }
    chosen = dict(ports)
    for name in names:
        if name not in chosen:
            chosen[name] = free_port([*chosen.values(), *taken])
    if chosen != ports:
        write_private_json(path, chosen)
    for name in names:
        claim(chosen[name])
    return {name: chosen[name] for name in names}


def assert_free(port: int, owner: str, mend: str, *, host: str = LOOPBACK, patience_seconds: float = 3) -> None:
    """Raise `PortTaken` when another program listens on the port that `owner` needs.

    One that is just ending, such as the broker of a stack that was killed, is given `patience_seconds`.
    """
    deadline = time.monotonic() + patience_seconds
    while not is_free(port, host):
        if time.monotonic() > deadline:
            raise PortTaken(f"port {port} of {owner} is in use by another program: stop that program, or {mend}")
        time.sleep(0.1)


def answers(port: int, host: str = LOOPBACK) -> bool:
    """Return whether somebody accepts connections on the port."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False
