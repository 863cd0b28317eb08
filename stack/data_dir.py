"""The data directory of one stack: one `stonks up` at a time, and what it writes down for others.

`lock` (held while it runs, with its pid), `ports.json`, `endpoints.json` (there while it runs), `tokens.json`, the
folders of Kafka and PostgreSQL, and a log a process. Everything is for its owner alone.
"""

import contextlib
import fcntl
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator

from pydantic import SecretStr

from stack.errors import DataDirInUse, Missing, StackError
from stack.files import make_private_dir, read_json_object, write_private_json
from streams.settings import Settings

ROLES = ("viewer", "operator", "armer")
KEPT_BY_A_DEMO = {"demo", "lock", "ports.json", "tokens.json"}
MADE_BY_A_DEMO = (
    *("kafka", "postgres", "postgres-roles.json", "endpoints.json"),
    *("worker-*", "*.log", "*.log.1", "*.sqlite", "*.sqlite-*"),
)
"""What goes before the next demo; whatever else lies beside it is its owner's."""


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Hold the directory for this process; raise `DataDirInUse`, with the pid, when another one has it.

    The lock goes with the process, however that ends.
    """
    make_private_dir(folder)
    path = folder / "lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Missing(f"no right to write to {path} ({error.strerror}): mend its owner and mode") from error
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataDirInUse(
                f"{folder} is used by another `stonks up` with pid {file.read().strip() or 'unknown'}: "
                "stop that one, or name another directory with STONKS_DATA_DIR"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def is_in_use(folder: pathlib.Path) -> bool:
    """Return whether a `stonks up` runs on the directory; one that was killed leaves its `endpoints.json` behind.

    Raises `Missing` where that may not be looked at.
    """
    try:
        with open(folder / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except PermissionError as error:
        raise Missing(f"no right to look into {folder}: ask as the user whose it is, or set STONKS_DATA_DIR") from error
    except OSError:
        return False
    return False


def is_a_demo(folder: pathlib.Path) -> bool:
    """Return whether the directory holds the demo's year, which lives in event time: an empty file `demo` says so."""
    mark = folder / "demo"
    return mark.is_file() and mark.stat().st_size == 0


def begin_demo(folder: pathlib.Path) -> None:
    """Make the directory ready for a demo from its beginning: what an earlier demo left goes, and nothing else.

    Raises `StackError` for a directory that holds anything and is not a demo's: it may be a person's home.
    """
    if not is_a_demo(folder):
        if found := sorted({entry.name for entry in folder.iterdir()} - (KEPT_BY_A_DEMO - {"demo"})):
            raise StackError(
                f"{folder} holds a stack of yours or other files of yours ({', '.join(found[:3])}"
                f"{', …' if len(found) > 3 else ''}): name another directory for the demo with STONKS_DATA_DIR"
            )
        (folder / "demo").touch(mode=0o600)
    for entry in {entry for pattern in MADE_BY_A_DEMO for entry in folder.glob(pattern)}:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def tokens(folder: pathlib.Path, settings: Settings) -> dict[str, str]:
    """Return the API's tokens by role: the given ones, or our own, kept in `tokens.json`, where none is given."""
    path = folder / "tokens.json"
    given: dict[str, SecretStr] = {role: getattr(settings, f"api_token_{role}") for role in ROLES}
    if any(token.get_secret_value() for token in given.values()):
        path.unlink(missing_ok=True)  # it would name tokens that open nothing
        return {role: token.get_secret_value() for role, token in given.items()}
    kept = read_json_object(path)
    if not all(isinstance(kept.get(role), str) and kept[role] for role in ROLES):
        kept = {role: secrets.token_urlsafe(32) for role in ROLES}
        write_private_json(path, kept)
    return {role: kept[role] for role in ROLES}


def endpoints_path(folder: pathlib.Path) -> pathlib.Path:
    """Return where a running stack says how it is reached."""
    return folder / "endpoints.json"
