"""What the engine stands on: Kafka, PostgreSQL, the topics and the tables; our own where the environment names none."""

import asyncio
import pathlib
import time

from migrations.runner import DatabaseUnreachable, MigrationError, migrate, reach
from stack import fake_alpaca, kafka, postgres
from stack.checklist import Checklist
from stack.engine import Addresses, worker_names
from stack.errors import Missing, StackError
from stack.jars import cache_dir, checked_jars
from stack.ports import assert_free, claim, kept_ports
from stack.supervisor import Service, Supervisor
from streams.settings import Settings
from streams.topics import TopicsError, create_topics

SECONDS_FOR_A_GIVEN_KAFKA = 20.0


def given_kafka(settings: Settings) -> str:
    """Return the brokers that the environment names, or an empty string."""
    return settings.kafka if "kafka" in settings.model_fields_set else ""


def given_database(settings: Settings) -> str:
    """Return the database that the environment names, or an empty string."""
    return settings.database_url.get_secret_value()


def not_for_our_own(settings: Settings) -> str:
    """Return why security settings are of no use to our own broker, which speaks plainly, on loopback alone."""
    if settings.kafka_security_protocol == "PLAINTEXT":
        return ""
    return (
        f"STONKS_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} is for a broker of yours: name it with "
        "STONKS_KAFKA, or unset this"
    )


def claim_ports(folder: pathlib.Path, settings: Settings, *, workers: int) -> dict[str, int]:
    """Return the port of each process by its name, all of them free now; raise `PortTaken` before anything starts."""
    names = [*worker_names(workers), "connectors"]
    names += [] if given_kafka(settings) else ["kafka", "kafka-controller"]
    names += [] if given_database(settings) else ["postgres"]
    names += [fake_alpaca.NAME] if fake_alpaca.is_wanted(settings) else []
    claim(settings.http_port)
    ports = kept_ports(folder, names, taken=[settings.http_port])
    for name, port in ports.items():
        assert_free(port, name, f"delete {folder / 'ports.json'} to have other ports chosen")
    assert_free(settings.http_port, "the API", "name another one with STONKS_HTTP_PORT", host=settings.http_host)
    return {**ports, "api": settings.http_port}


def start_foundations(
    folder: pathlib.Path,
    settings: Settings,
    ports: dict[str, int],
    *,
    checklist: Checklist,
    supervisor: Supervisor,
) -> Addresses:
    """Start what is not given, create the topics, migrate, and return where everything is."""
    services: list[Service] = []
    if owner_url := given_database(settings):
        with checklist.step("given PostgreSQL") as remarks:
            remarks.append(given_version(owner_url))  # before anything is begun on this machine
    if not (bootstrap := given_kafka(settings)):
        if refused := not_for_our_own(settings):
            raise StackError(refused)
        bootstrap = kafka.bootstrap(ports["kafka"])
        with checklist.step("Kafka's jars"):
            checked_jars(cache_dir(settings))
        with checklist.step("Kafka's folder"):
            services.append(own_kafka(folder, settings, ports))
        supervisor.start(services[-1])
    else:
        with checklist.step("given Kafka"):
            await_kafka(bootstrap, settings)  # before anything is begun on this machine
    if not owner_url:
        with checklist.step("database folder"):
            services.append(own_postgres(folder, settings, ports["postgres"]))
        supervisor.start(services[-1])
        place = folder / "postgres"
        owner_url = postgres.url(place, port=ports["postgres"], role=postgres.OWNER)
        reader_url = postgres.url(place, port=ports["postgres"], role=postgres.READER)
    for service in services:
        with checklist.step(service.program.name) as remarks:
            supervisor.await_ready(service)
            remarks.append(f"port {ports[service.program.name]}, pid {service.child.pid if service.child else 0}")
    with checklist.step("topics"):
        make_topics(bootstrap, settings)
    with checklist.step("migrations") as remarks:
        remarks.extend(make_tables(owner_url) or ["nothing new"])
    return Addresses(
        kafka=bootstrap,
        owner_url=owner_url,
        reader_url=owner_url if given_database(settings) else reader_url,
        workers={name: port for name, port in ports.items() if name.startswith("worker-")},
        connectors=ports["connectors"],
        http_host=settings.http_host,
        http_port=ports["api"],
    )


def await_kafka(bootstrap: str, settings: Settings) -> None:
    """Return once the broker answers; raise `Missing` when it does not, at once when it and we distrust each other."""
    deadline = time.monotonic() + SECONDS_FOR_A_GIVEN_KAFKA
    while not kafka.is_ready(bootstrap, settings):
        if time.monotonic() > deadline:
            raise Missing(
                f"no Kafka answers at {bootstrap} by {settings.kafka_security_protocol}: start it, mend "
                "STONKS_KAFKA_SECURITY_PROTOCOL, or unset STONKS_KAFKA to have one started"
            )
        time.sleep(0.2)


def make_topics(bootstrap: str, settings: Settings) -> None:
    """Create every topic that is not there; raise `StackError` when the broker is not there or refuses."""
    await_kafka(bootstrap, settings)
    try:
        create_topics(bootstrap, settings)
    except TopicsError as error:
        raise StackError(str(error)) from error


def make_tables(url: str) -> list[str]:
    """Migrate the database and return what was applied; raise `Missing` when it is not there, `StackError` else."""
    try:
        return asyncio.run(migrate(url))
    except MigrationError as error:
        raise _unusable(error) from error


def given_version(url: str) -> str:
    """Return the version of a given PostgreSQL; raise `Missing` when it does not let us in, `StackError` else."""

    async def ask() -> str:
        connection = await reach(url)
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    try:
        return asyncio.run(ask())
    except MigrationError as error:
        raise _unusable(error) from error


def _unusable(error: MigrationError) -> StackError:
    if not isinstance(error, DatabaseUnreachable):
        return StackError(str(error))
    kind = StackError if isinstance(error.__cause__, ValueError) else Missing  # an address that is none is wrong usage
    return kind(f"{error}: start it, mend STONKS_DATABASE_URL, or unset that to have one started")


def own_kafka(folder: pathlib.Path, settings: Settings, ports: dict[str, int]) -> Service:
    """Make our own broker's folder ready and return the service to start."""
    program = kafka.prepare(
        folder / "kafka",
        port=ports["kafka"],
        controller_port=ports["kafka-controller"],
        cache=cache_dir(settings),
    )
    return Service(program, lambda _: kafka.is_ready(kafka.bootstrap(ports["kafka"])), foundation=True)


def own_postgres(folder: pathlib.Path, settings: Settings, port: int) -> Service:
    """Make the database server of a data directory ready to be started, and return it."""
    place = folder / "postgres"
    program = postgres.prepare(place, port=port, binaries=postgres.find_binaries(settings.pg_bin_dir))
    return Service(program, lambda pid: postgres.is_ready(place, pid), foundation=True)
