"""TLS and SASL settings: half of a setup is refused, secrets stay secret, and no client is made without them."""

import ast
import pathlib
import ssl
from collections.abc import Iterator
from typing import Any

import faust
import pytest
from pydantic import SecretStr, ValidationError

from streams.security import for_aiokafka, for_faust, for_librdkafka
from streams.settings import Settings
from tests.test_layout import ROOT, modules

PASSWORD = "canary-kafka-password"
MADE_BY = {
    "AIOKafkaConsumer": "for_aiokafka",
    "AIOKafkaProducer": "for_aiokafka",
    "AIOKafkaAdminClient": "for_aiokafka",
    "AdminClient": "for_librdkafka",
    "Consumer": "for_librdkafka",
    "DeserializingConsumer": "for_librdkafka",
    "Producer": "for_librdkafka",
    "SerializingProducer": "for_librdkafka",
    "App": "for_faust",
    "EngineApp": "for_faust",
}


def unsecured(root: pathlib.Path) -> Iterator[str]:
    """Yield every client of Kafka that is made without the one module that says how brokers are reached."""
    for path, tree in modules(root):
        passed_on = _options_named(tree)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            wanted = MADE_BY.get(_name(call.func), "")
            if not wanted:
                continue
            inside = {
                _name(node.func) if isinstance(node, ast.Call) else passed_on.get(getattr(node, "id", ""), "")
                for part in (*call.args, *call.keywords)
                for node in ast.walk(part)
            }
            if wanted not in inside:
                yield f"{path}:{call.lineno}: {_name(call.func)} without {wanted}"


def _options_named(tree: ast.Module) -> dict[str, str]:
    """Return the variables that hold what one of the functions returned, or that with more beside it."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            called = {_name(each.func) for each in ast.walk(node.value) if isinstance(each, ast.Call)}
            for name in called & set(MADE_BY.values()):
                found[node.targets[0].id] = name
    return found


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def test_every_client_of_ours_is_reached_by_the_settings() -> None:
    assert list(unsecured(ROOT)) == []


def test_the_walk_sees_the_clients_that_there_are() -> None:
    made = [
        _name(node.func)
        for _, tree in modules(ROOT)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _name(node.func) in MADE_BY
    ]
    assert len(made) >= 12
    assert {"AIOKafkaConsumer", "AIOKafkaProducer", "AdminClient", "Producer", "EngineApp"} <= set(made)


@pytest.mark.parametrize(
    "source",
    [
        "AIOKafkaConsumer(bootstrap_servers=settings.kafka)",
        "aiokafka.AIOKafkaProducer()",
        "AdminClient({'bootstrap.servers': kafka})",
        "AdminClient(for_aiokafka(settings))",
        "confluent_kafka.Producer(options)",
        "faust.App('stonks', broker='kafka://x')",
    ],
)
def test_a_client_without_them_turns_the_walk_red(tmp_path: pathlib.Path, source: str) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "late.py").write_text(source)
    assert len(list(unsecured(tmp_path))) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kafka_security_protocol": "SSSL"}, "PLAINTEXT"),
        ({"kafka_ssl_cafile": __file__}, "uses no TLS"),
        ({"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ssl_cafile": __file__}, "uses no TLS"),
        ({"kafka_security_protocol": "SSL", "kafka_ssl_certfile": __file__}, "KEYFILE"),
        ({"kafka_security_protocol": "SSL", "kafka_ssl_cafile": "/no/such/file"}, "not point to a file"),
        ({"kafka_sasl_password": PASSWORD}, "sends no password"),
        ({"kafka_security_protocol": "SSL", "kafka_sasl_username": "u"}, "sends no password"),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_sasl_username": "u"}, "needs STONKS_KAFKA_SASL_USERNAME"),
        ({"kafka_sasl_mechanism": "GSSAPI"}, "SCRAM-SHA-256"),
    ],
)
def test_half_of_a_setup_is_refused_without_saying_a_secret(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**changes)
    [problem] = refused.value.errors(include_input=False)
    assert says in problem["msg"]
    assert str(problem["loc"][0]).startswith("kafka_s")
    assert PASSWORD not in problem["msg"]


def test_an_empty_variable_is_an_unset_one() -> None:
    assert Settings(kafka_ssl_cafile="").kafka_ssl_cafile is None  # type: ignore[arg-type]  # as a compose file says it


def test_without_settings_every_client_speaks_plainly() -> None:
    plain = Settings(kafka="a:1,b:2")
    assert for_aiokafka(plain) == {"bootstrap_servers": "a:1,b:2", "security_protocol": "PLAINTEXT"}
    assert for_aiokafka(plain, "c:3")["bootstrap_servers"] == "c:3"
    assert for_librdkafka(plain) == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "PLAINTEXT",
        "log_level": 0,
    }
    assert for_faust(plain) == {"broker": ["kafka://a:1", "kafka://b:2"]}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_name_and_a_password_reach_every_kind_of_client(mechanism: Any) -> None:
    secured = Settings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism=mechanism,
        kafka_sasl_username="trader",
        kafka_sasl_password=SecretStr(PASSWORD),
    )
    ours = for_aiokafka(secured)
    assert (ours["security_protocol"], ours["sasl_mechanism"]) == ("SASL_SSL", mechanism)
    assert (ours["sasl_plain_username"], ours["sasl_plain_password"]) == ("trader", PASSWORD)
    assert (ours["ssl_context"].check_hostname, ours["ssl_context"].verify_mode) == (True, ssl.CERT_REQUIRED)
    theirs = for_librdkafka(secured)
    assert (theirs["security.protocol"], theirs["sasl.mechanism"]) == ("SASL_SSL", mechanism)
    assert (theirs["sasl.username"], theirs["sasl.password"]) == ("trader", PASSWORD)
    fausts = for_faust(secured)["broker_credentials"]
    assert isinstance(fausts, faust.SASLCredentials)
    assert (fausts.protocol.value, fausts.mechanism.value) == ("SASL_SSL", mechanism)
    assert (fausts.username, fausts.password) == ("trader", PASSWORD)
    assert PASSWORD not in repr(fausts) + repr(secured)
