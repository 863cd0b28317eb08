"""Kafka's jars: fetched once, whole or not at all, and compared with the list at every start."""

import concurrent.futures
import hashlib
import http.server
import os
import pathlib
import threading
from collections.abc import Iterator

import pytest

from stack.errors import Missing
from stack.jars import cache_dir, checked_jars, locked_jars, missing_jars, network_problem
from streams.settings import Settings

COORDINATE = "org.example:{}:1.0"
JARS = {name: f"the bytes of {name}".encode() * 1000 for name in ("one", "two", "three")}


class Repository:
    """A Maven repository on loopback that counts what is fetched, and can be made to lie."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.altered: set[str] = set()
        self.cut: set[str] = set()
        repository = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.answer(self)

            def do_HEAD(self) -> None:
                repository.answer(self)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        name = request.path.rpartition("/")[2].removesuffix("-1.0.jar")
        if name not in JARS:
            request.send_error(404)
            return
        if request.command == "GET":
            self.fetched.append(name)
        body = JARS[name] + (b"!" if name in self.altered else b"")
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body[:100] if name in self.cut else body)


@pytest.fixture
def repository() -> Iterator[Repository]:
    repository = Repository()
    yield repository
    repository.server.shutdown()
    repository.server.server_close()


@pytest.fixture
def lock(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "jars.lock"
    lines = [f"{COORDINATE.format(name)} {hashlib.sha256(body).hexdigest()}\n" for name, body in JARS.items()]
    path.write_text("".join(lines))
    return path


def test_the_committed_list_names_each_jar_once_with_a_hash_and_no_address() -> None:
    jars = locked_jars()
    assert len(jars) == 46
    assert "org.apache.kafka:kafka_2.13:4.3.1" in jars
    assert {len(sha256) for sha256 in jars.values()} == {64}
    assert not any("/" in coordinate for coordinate in jars)


def test_missing_jars_are_fetched_once(tmp_path: pathlib.Path, lock: pathlib.Path, repository: Repository) -> None:
    paths = checked_jars(tmp_path, lock, remote=repository.address)
    assert [path.read_bytes() for path in paths] == list(JARS.values())
    checked_jars(tmp_path, lock, remote=repository.address)
    assert sorted(repository.fetched) == sorted(JARS)
    assert sorted(path.name for path in paths[0].parent.glob("[!.]*")) == [
        "one-1.0.jar",
        "three-1.0.jar",
        "two-1.0.jar",
    ]


def test_processes_that_fetch_at_once_take_turns(
    tmp_path: pathlib.Path, lock: pathlib.Path, repository: Repository
) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # each opens the lock anew, as a process would
        futures = [pool.submit(checked_jars, tmp_path, lock, remote=repository.address) for _ in range(4)]
    assert all(len(future.result()) == 3 for future in futures)
    assert sorted(repository.fetched) == sorted(JARS)


@pytest.mark.parametrize("length", [0, 100])
def test_a_cut_jar_is_named_with_the_mend(
    tmp_path: pathlib.Path, lock: pathlib.Path, repository: Repository, length: int
) -> None:
    path = checked_jars(tmp_path, lock, remote=repository.address)[1]
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(Missing, match=rf"two-1\.0\.jar is damaged.*delete {path} and start again"):
        checked_jars(tmp_path, lock, remote=repository.address)
    path.unlink()
    assert path in checked_jars(tmp_path, lock, remote=repository.address)


def test_a_jar_that_the_network_altered_is_never_used(
    tmp_path: pathlib.Path, lock: pathlib.Path, repository: Repository
) -> None:
    repository.altered = {"two"}
    with pytest.raises(Missing, match=r"two-1\.0\.jar came from the network with sha256"):
        checked_jars(tmp_path, lock, remote=repository.address)
    assert COORDINATE.format("two") in missing_jars(tmp_path, lock)


def test_a_download_that_is_cut_every_time_is_never_used(
    tmp_path: pathlib.Path, lock: pathlib.Path, repository: Repository
) -> None:
    repository.cut = {"two"}
    with pytest.raises(Missing, match=r"two-1\.0\.jar is not in the cache .* cannot be fetched"):
        checked_jars(tmp_path, lock, remote=repository.address)
    assert COORDINATE.format("two") in missing_jars(tmp_path, lock)
    assert repository.fetched.count("two") == 3


def test_no_network_is_said_with_the_ways_out(tmp_path: pathlib.Path, lock: pathlib.Path) -> None:
    with pytest.raises(Missing, match=r"connect this machine to the network once, or copy that folder .*STONKS_KAFKA"):
        checked_jars(tmp_path, lock, remote="http://127.0.0.1:9")


def test_the_cache_is_where_the_user_keeps_caches(tmp_path: pathlib.Path) -> None:
    assert cache_dir(Settings(xdg_cache_home=tmp_path)) == tmp_path / "stonks-oracle"


def test_a_cache_that_cannot_be_written_gives_way_to_a_temporary_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_dir(Settings(xdg_cache_home=pathlib.Path("/proc/nowhere"))).is_relative_to(tmp_path)


def test_a_cache_that_others_may_write_to_is_not_used(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared" / "stonks-oracle"
    shared.mkdir(parents=True)
    os.chmod(shared, 0o777)  # noqa: S103 - that is the point
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    assert cache_dir(Settings(xdg_cache_home=tmp_path / "shared")).is_relative_to(tmp_path / "own")


def test_the_network_can_be_tried_without_fetching(repository: Repository) -> None:
    assert network_problem(COORDINATE.format("one"), remote=repository.address) == ""
    assert "404" in network_problem(COORDINATE.format("four"), remote=repository.address)
    assert network_problem(COORDINATE.format("one"), remote="http://127.0.0.1:9")
    assert repository.fetched == []
