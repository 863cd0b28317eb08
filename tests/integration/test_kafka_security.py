"""TLS and SASL against a real broker that asks for them; on the way, live trading armed over HTTP and kept over a
restart.
"""

import contextlib
import datetime as dt
import pathlib
import time
from collections.abc import Iterator

import aiokafka
import psutil
import pytest
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from stack.errors import Missing
from stack.kafka import is_ready
from streams.security import for_aiokafka, for_librdkafka
from tests.integration import market, tls
from tests.integration.desk import Desk
from tests.integration.harness import Stack
from tests.integration.tls import KEY_PASSWORD, SASL_PASSWORD, SecuredBroker, settings_of

pytestmark = pytest.mark.integration

DAY = dt.date(2026, 3, 16)  # a Monday: 13:30 to 20:00 UTC
SECONDS_TO_SAY_SO = 15.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """Give a broker that wants a certificate on one port and a password on another."""
    with tls.secured_broker(tmp_path_factory.mktemp("secured")) as started:
        yield started


def test_a_whole_stack_trades_by_tls_and_live_only_while_it_is_armed(broker: SecuredBroker) -> None:
    """At 40 dollars with confidence 0.9: 0.9 / 0.55 x 25 x 1.2 = 49.09, one share."""
    variables = broker.by_certificate() | {"STONKS_MODE": "live"}
    with Stack(**variables) as stack:
        stack.kafka_options = for_librdkafka(settings_of(variables))
        stack.start()
        desk = Desk(stack, "paper", DAY, prefix="TLS")
        unarmed, armed, after, late = (desk.symbol(letter) for letter in "ABCD")
        for symbol in (unarmed, armed, after, late):
            stack.produce("companies", [market.company(symbol, sector=symbol)])
            stack.produce("price-bars", market.bars_before(symbol, DAY, "40.00"))
            stack.produce("price-ticks", [market.tick(symbol, "40.00", desk.at("14:00"))])
        stack.until_lag_zero()
        desk.recommend(unarmed, "14:01", mode="live_eligible")
        assert [decision["skip_reason"] for decision in desk.decisions()] == ["engine_paused"]

        assert desk.request("POST", "/arm", json={"confirm": "LIVE"}).status_code == 403
        answer = desk.request("POST", "/arm", role="armer", json={"confirm": "LIVE"})
        assert (answer.status_code, answer.json()["armed_until"]) == (200, desk.at("20:00"))
        desk.recommend(armed, "14:02", mode="live_eligible")
        assert [(order["symbol"], order["quantity"]) for order in desk.orders()] == [(armed, "1")]
        assert [(row["symbol"], row["quantity"]) for row in desk.rows("positions")] == [(armed, 1)]
        assert_no_secret_shows(stack)

        assert stack.ask_to_stop() == 0
        stack.start()
        assert desk.status()["armed_until"] == desk.at("20:00")
        desk.tick(after, "40.00", "14:03")
        desk.recommend(after, "14:04", mode="live_eligible")
        assert desk.orders()[-1]["symbol"] == after

        desk.tick(late, "40.00", "20:00")
        assert desk.status()["armed_until"] is None
        assert [alert["severity"] for alert in desk.records("alert") if "armed" in alert["subject"]] == ["warning"] * 2
        replayed = stack.run("replay", "--assert-identical")
        assert replayed.returncode == 0, replayed.stderr


def assert_no_secret_shows(stack: Stack) -> None:
    """Look through the logs, what is printed, and what everybody sees of running processes."""
    assert stack.process is not None
    logs = [*stack.folder.glob("*.log"), *stack.data_dir.glob("*.log")]
    seen = [path.read_text(errors="replace") for path in logs]
    for process in psutil.Process(stack.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            seen.extend(process.cmdline())
    assert len(logs) >= 4
    assert [text for text in seen if KEY_PASSWORD in text] == []


def test_a_broker_of_another_authority_is_refused_within_seconds_and_nothing_is_begun(
    broker: SecuredBroker, tmp_path: pathlib.Path
) -> None:
    stranger = tls.authority(tmp_path, "stranger")
    with Stack(**broker.by_certificate() | {"STONKS_KAFKA_SSL_CAFILE": str(stranger.cafile)}) as stack:
        began = time.monotonic()
        ended = stack.run("up")
        assert time.monotonic() - began < SECONDS_TO_SAY_SO
        assert ended.returncode == 3
        assert "certificate verify failed" in ended.stderr
        assert "STONKS_KAFKA_SSL_" in ended.stderr.splitlines()[-1]
        assert KEY_PASSWORD not in ended.stdout + ended.stderr
        assert not (stack.data_dir / "endpoints.json").exists()
        assert not (stack.data_dir / "postgres").exists()
        looked = stack.run("doctor")
        assert looked.returncode == 3
        assert "certificate verify failed" in looked.stdout


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
async def test_a_name_and_a_password_open_the_broker_to_every_library(broker: SecuredBroker, mechanism: str) -> None:
    if mechanism.startswith("SCRAM"):
        enrol(broker)
    right = settings_of(broker.by_password(mechanism))
    assert is_ready(broker.sasl, right)
    async with aiokafka.AIOKafkaProducer(**for_aiokafka(right)) as producer:
        assert producer.client.cluster.brokers()
    with pytest.raises(Missing, match="do not trust each other") as refused:
        is_ready(broker.sasl, settings_of(broker.by_password(mechanism, "wrong-" + SASL_PASSWORD)))
    assert SASL_PASSWORD not in str(refused.value)


def enrol(broker: SecuredBroker) -> None:
    """Let the broker know the user by SCRAM."""
    admin = AdminClient(for_librdkafka(settings_of(broker.by_certificate())))
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    wanted = UserScramCredentialUpsertion(tls.USER, scram, SASL_PASSWORD.encode())
    admin.alter_user_scram_credentials([wanted])[tls.USER].result(10)


def test_a_client_without_a_certificate_and_one_that_speaks_plainly_are_not_let_in(broker: SecuredBroker) -> None:
    bare = {name: value for name, value in broker.by_certificate().items() if "CERT" not in name and "KEY" not in name}
    with pytest.raises(Missing, match="do not trust each other"):
        is_ready(broker.tls, settings_of(bare))
    assert not is_ready(broker.tls)


def test_a_wrong_password_of_our_key_is_said_and_not_shown(broker: SecuredBroker) -> None:
    wrong = broker.by_certificate() | {"STONKS_KAFKA_SSL_KEY_PASSWORD": "wrong-canary"}
    with pytest.raises(Missing, match="STONKS_KAFKA_SSL_") as refused:
        is_ready(broker.tls, settings_of(wrong))
    assert "wrong-canary" not in str(refused.value)
