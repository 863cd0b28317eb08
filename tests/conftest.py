"""A real Kafka and a real PostgreSQL for the tests: a given one, else a container's, else our own, started once.

Given: `STONKS_KAFKA` and `STONKS_DATABASE_URL` (a role that may create databases). Containers: when a Docker engine
answers. Whatever is started here ends with pytest, also when pytest is killed. Where xdist shares the tests among
processes, each process has its own.
"""

import asyncio
import concurrent.futures
import contextlib
import pathlib
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator

import asyncpg
import docker
import docker.errors
import pytest
from testcontainers.core.container import DockerContainer

from stack import kafka as embedded_kafka
from stack import postgres as embedded_postgres
from stack.jars import cache_dir
from stack.ports import free_port
from stack.programs import running
from streams.settings import Settings

HERE = pathlib.Path(__file__).parent
SECONDS_TO_START = 120
LONG_FIRST = ("chaos", "integration", "stack", "connectors")


def pytest_configure() -> None:
    """End on SIGTERM, as a CI sends it, like on Ctrl-C: with the fixtures' clean-up and the failures of so far."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take minutes where several processes share the tests, so that none ends alone with one.

    xdist (`--dist loadfile --no-loadscope-reorder`) hands the files out in the order of the collection.
    """
    if hasattr(config, "workerinput"):
        folders = {name: place for place, name in enumerate(LONG_FIRST)}
        items.sort(key=lambda item: folders.get(item.path.relative_to(HERE).parts[0], len(folders)))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the bootstrap address of a broker that the whole session shares; take topic names from `topic_prefix`."""
    settings = Settings()
    with contextlib.ExitStack() as stack:
        if "kafka" in settings.model_fields_set:
            yield settings.kafka
        elif docker_answers():
            yield stack.enter_context(kafka_in_a_container())
        else:
            yield stack.enter_context(own_kafka(tmp_path_factory.mktemp("kafka"), settings))


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a server, with a role that may create databases and roles."""
    settings = Settings()
    with contextlib.ExitStack() as stack:
        if given := settings.database_url.get_secret_value():
            yield given
        elif docker_answers():
            yield stack.enter_context(postgres_in_a_container())
        else:
            yield stack.enter_context(own_postgres(tmp_path_factory.mktemp("postgres"), settings))


@pytest.fixture(scope="session")
def database_url(postgres_url: str) -> Iterator[str]:
    """Give the owner's address of an empty database that the session shares."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
def database(postgres_url: str) -> Iterator[str]:
    """Give the owner's address of an empty database that this test has for itself."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
def topic_prefix() -> str:
    """Give a prefix that no other test has, so that tests share the broker and never a topic."""
    return f"t{uuid.uuid4().hex[:10]}-"


def docker_answers() -> bool:
    """Return whether a Docker engine answers."""
    try:
        client = docker.from_env(timeout=3)
    except docker.errors.DockerException:
        return False
    client.close()
    return True


@contextlib.contextmanager
def own_kafka(folder: pathlib.Path, settings: Settings) -> Iterator[str]:
    """Start our embedded broker on free ports and give its address."""
    port, controller_port = free_port(), free_port()
    address = embedded_kafka.bootstrap(port)
    program = embedded_kafka.prepare(
        folder / "kafka", port=port, controller_port=controller_port, cache=cache_dir(settings)
    )
    with removed_at_the_end(folder), running(program, lambda _: embedded_kafka.is_ready(address)):
        yield address


@contextlib.contextmanager
def own_postgres(folder: pathlib.Path, settings: Settings) -> Iterator[str]:
    """Start our embedded server on a free port and give its owner's address."""
    port, place = free_port(), folder / "postgres"
    binaries = embedded_postgres.find_binaries(settings.pg_bin_dir)
    program = embedded_postgres.prepare(place, port=port, binaries=binaries)
    with removed_at_the_end(folder), running(program, lambda pid: embedded_postgres.is_ready(place, pid)):
        yield embedded_postgres.url(place, port=port, role=embedded_postgres.OWNER)


@contextlib.contextmanager
def kafka_in_a_container() -> Iterator[str]:
    """Start Apache's own image with one port, the same inside and outside, and give its address."""
    port = free_port()
    settings = {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:9093",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "LISTENERS": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://127.0.0.1:9093",
        "ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "AUTO_CREATE_TOPICS_ENABLE": "false",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_MIN_ISR": "1",
    }
    container = DockerContainer("apache/kafka:4.3.1").with_bind_ports(port, port)
    for name, value in settings.items():
        container.with_env(f"KAFKA_{name}", value)
    address = f"127.0.0.1:{port}"
    with container:
        wait_until(lambda: embedded_kafka.is_ready(address))
        yield address


@contextlib.contextmanager
def postgres_in_a_container() -> Iterator[str]:
    """Start the official image and give its owner's address."""
    port, password = free_port(), uuid.uuid4().hex
    container = (
        DockerContainer("postgres:18-alpine").with_bind_ports(5432, port).with_env("POSTGRES_PASSWORD", password)
    )
    url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"

    def answers() -> bool:
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            execute(url, "SELECT 1")
            return True
        return False

    with container:
        wait_until(answers)
        yield url


@contextlib.contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """Create an empty database, give its address, and drop it whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    execute(server, f'CREATE DATABASE "{name}"')
    try:
        base, _, options = server.partition("?")
        yield base.rpartition("/")[0] + f"/{name}" + (f"?{options}" if options else "")
    finally:
        wait_until(lambda: _is_dropped(server, name))


def _is_dropped(server: str, name: str) -> bool:
    """Drop a database; an autovacuum that is just in it is a superuser's, whom the owner cannot put out, and passes."""
    try:
        execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


def execute(server: str, statement: str) -> None:
    """Run one statement; in a thread of its own, because an async test has an event loop in this one."""

    async def connect_and_execute() -> None:
        connection = await asyncpg.connect(server)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, connect_and_execute()).result()


def wait_until(condition: Callable[[], bool], *, seconds: float = SECONDS_TO_START) -> None:
    """Wait until the condition holds; fail the test when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds:.0f} s"
        time.sleep(0.1)


@contextlib.contextmanager
def removed_at_the_end(folder: pathlib.Path) -> Iterator[None]:
    """Remove the folder when the programs in it have ended."""
    try:
        yield
    finally:
        shutil.rmtree(folder)
