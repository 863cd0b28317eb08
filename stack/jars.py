"""Kafka's jars: fetched once into a per-user cache, and each one compared with the committed list at every start.

`kafka_jars.lock` names each by its Maven coordinate and the sha256 of its bytes (`jars_lock.py` makes it). Nothing that
is not in that list gets on the class path, and nothing whose bytes differ.
"""

import concurrent.futures
import fcntl
import hashlib
import http.client
import os
import pathlib
import ssl
import stat
import tempfile
import time
import urllib.request

import certifi

from stack.errors import Missing
from streams.settings import Settings

KAFKA_VERSION = "4.3.1"
MAVEN_CENTRAL = "https://repo.maven.apache.org/maven2"
ATTEMPTS, SECONDS = 3, 30
LOCK = pathlib.Path(__file__).with_name("kafka_jars.lock")


def cache_dir(settings: Settings) -> pathlib.Path:
    """Return our folder in the user's cache, or one below the temporary folder where that cannot be written to."""
    homes = [settings.xdg_cache_home or pathlib.Path("~/.cache").expanduser()]
    homes.append(pathlib.Path(tempfile.gettempdir()) / f"cache-{os.getuid()}")
    refused = []
    for home in homes:
        folder = home / "stonks-oracle"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                owner = folder.stat()
            if owner.st_uid == os.getuid() and not owner.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return folder
            refused.append(f"{folder} belongs to others")
        except OSError as error:
            refused.append(f"{folder}: {error.strerror}")
    raise Missing(f"no folder to keep Kafka's jars in ({'; '.join(refused)}): set XDG_CACHE_HOME to one of yours")


def locked_jars(lock: pathlib.Path = LOCK) -> dict[str, str]:
    """Return the sha256 of each jar by its coordinate `group:artifact:version`."""
    lines = [line.split() for line in lock.read_text(encoding="utf-8").splitlines()]
    return {line[0]: line[1] for line in lines}


def missing_jars(cache: pathlib.Path, lock: pathlib.Path = LOCK) -> list[str]:
    """Return the coordinates of the jars that are not in the cache; raise `Missing` for one that is damaged."""
    missing = []
    for coordinate, sha256 in locked_jars(lock).items():
        path = _path(cache, coordinate)
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except FileNotFoundError:
            missing.append(coordinate)
        except OSError as error:
            raise Missing(f"{path} cannot be read ({error.strerror}): mend its mode, or delete it") from error
        else:
            if found != sha256:
                raise Missing(
                    f"{path.name} is damaged (sha256 {found[:12]}…, not {sha256[:12]}…): "
                    f"delete {path} and start again, it is fetched anew"
                )
    return missing


def checked_jars(cache: pathlib.Path, lock: pathlib.Path = LOCK, *, remote: str = MAVEN_CENTRAL) -> list[pathlib.Path]:
    """Return the paths of all jars, each with the right bytes; fetch those that are missing.

    Processes that come at once take turns. Raises `Missing` for a damaged jar, or for one that is neither in the cache
    nor to be had from the network.
    """
    jars = _folder(cache)
    jars.mkdir(mode=0o700, parents=True, exist_ok=True)
    if missing_jars(cache, lock):
        with open(jars / ".lock", "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            _fetch(missing_jars(cache, lock), cache, locked_jars(lock), remote)
    return [_path(cache, coordinate) for coordinate in locked_jars(lock)]


def network_problem(coordinate: str, *, remote: str = MAVEN_CENTRAL) -> str:
    """Return why a jar could not be fetched from here, or an empty string; fetches nothing."""
    question = urllib.request.Request(_url(coordinate, remote), method="HEAD")  # noqa: S310 - our address
    try:
        with urllib.request.urlopen(question, timeout=5, context=_trusted()):  # noqa: S310
            return ""
    except (OSError, http.client.HTTPException) as error:
        return str(error)


def _trusted() -> ssl.SSLContext:
    context = ssl.create_default_context()  # what the system trusts, a company's own authority too
    context.load_verify_locations(certifi.where())  # and what everybody trusts, where the system names nothing
    return context


def _fetch(coordinates: list[str], cache: pathlib.Path, wanted: dict[str, str], remote: str) -> None:
    trusted = _trusted()
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        futures = [
            pool.submit(_fetch_one, name, _path(cache, name), wanted[name], remote=remote, trusted=trusted)
            for name in coordinates
        ]
        try:
            for done in concurrent.futures.as_completed(futures):
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch_one(coordinate: str, target: pathlib.Path, sha256: str, *, remote: str, trusted: ssl.SSLContext) -> None:
    jar = _download(coordinate, target, remote=remote, trusted=trusted)
    found = hashlib.sha256(jar).hexdigest()
    if found != sha256:
        raise Missing(
            f"{target.name} came from the network with sha256 {found[:12]}…, not {sha256[:12]}…: try again, and look "
            "for a proxy or a mirror that alters files"
        )
    part = target.with_suffix(".part")
    part.write_bytes(jar)
    part.replace(target)  # whole or not at all


def _download(coordinate: str, target: pathlib.Path, *, remote: str, trusted: ssl.SSLContext) -> bytes:
    url = _url(coordinate, remote)
    failure: Exception | None = None
    for attempt in range(ATTEMPTS):
        time.sleep(attempt * 0.5)
        try:
            with urllib.request.urlopen(url, timeout=SECONDS, context=trusted) as answer:  # noqa: S310 - our address
                return bytes(answer.read())
        except (OSError, http.client.HTTPException) as error:
            failure = error
    raise Missing(
        f"{target.name} is not in the cache {target.parent} and cannot be fetched from Maven Central ({failure}): "
        "connect this machine to the network once, or copy that folder from one that has it, or name a running Kafka "
        "with STONKS_KAFKA"
    ) from failure


def _folder(cache: pathlib.Path) -> pathlib.Path:
    return cache / f"kafka-{KAFKA_VERSION}"


def _url(coordinate: str, remote: str) -> str:
    group, artifact, version = coordinate.split(":")
    return f"{remote}/{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar"


def _path(cache: pathlib.Path, coordinate: str) -> pathlib.Path:
    _, artifact, version = coordinate.split(":")
    return _folder(cache) / f"{artifact}-{version}.jar"
