"""`stonks doctor` on the broker: what Alpaca answers is a line with the mend, and no line shows a key."""

import asyncio
import datetime as dt
import http.server
import json
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from stack import doctor_broker
from stack.doctor_broker import check_alpaca, check_arming, check_clock
from stack.errors import Missing, StackError
from stack.findings import Doubtful, Wrong
from streams.settings import Settings
from tests.fakes.alpaca.keys import TEST_KEYS
from tests.fakes.alpaca.server import FakeAlpaca
from tests.stack.conftest import Stonks

HEALTHY = {
    "status": "ACTIVE",
    "currency": "USD",
    "cash": "500",
    "trading_blocked": False,
    "account_blocked": False,
    "trade_suspended_by_user": False,
}
SECRET = "canary-alpaca-secret"


class Broker(http.server.ThreadingHTTPServer):
    """Answer the account and the clock as a test says."""

    account: dict[str, Any]
    ahead = dt.timedelta()
    status = 200
    seconds = 0.0

    def answer(self, path: str) -> Any:
        time.sleep(self.seconds)
        now = dt.datetime.now(dt.timezone(dt.timedelta(hours=-5))) + self.ahead
        clock = {"timestamp": now.isoformat(timespec="microseconds").replace("-05:00", "123-05:00"), "is_open": True}
        return clock if path == "/v2/clock" else self.account


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Broker

    def do_GET(self) -> None:
        body = json.dumps(self.server.answer(self.path)).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def broker() -> Iterator[Broker]:
    """Give a broker that is well."""
    server = Broker(("127.0.0.1", 0), _Handler)
    server.account = dict(HEALTHY)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def settings_for(url: str, **changes: Any) -> Settings:
    given = {
        "broker": "alpaca",
        "alpaca_key_id": "PKCANARY000000000001",
        "alpaca_secret_key": SECRET,
        "alpaca_trading_url": url,
    }
    return Settings(**(given | changes))


def at(broker: Broker, **changes: Any) -> Settings:
    return settings_for(f"http://127.0.0.1:{broker.server_port}", **changes)


def test_a_healthy_account_is_well(broker: Broker) -> None:
    assert "paper account" in check_alpaca(at(broker))
    assert check_clock(at(broker)) == "as the exchange's"


async def test_the_fake_alpaca_is_well_too() -> None:
    async with FakeAlpaca() as fake:
        keys = {"alpaca_key_id": TEST_KEYS.key_id, "alpaca_secret_key": TEST_KEYS.secret_key}
        assert "may trade" in await asyncio.to_thread(check_alpaca, settings_for(fake.url, **keys))
        with pytest.raises(Wrong, match="does not take the keys"):
            await asyncio.to_thread(check_alpaca, settings_for(fake.url))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"status": "ONBOARDING"}, "ONBOARDING"),
        ({"trading_blocked": True}, "trading_blocked"),
        ({"account_blocked": True}, "account_blocked"),
        ({"trade_suspended_by_user": True}, "trade_suspended_by_user"),
        ({"trading_blocked": None}, "trading_blocked"),
        ({"currency": "EUR"}, "not kept in USD"),
    ],
)
def test_an_account_that_may_not_trade_is_wrong(broker: Broker, change: dict[str, Any], says: str) -> None:
    broker.account |= change
    with pytest.raises(Wrong, match=says):
        check_alpaca(at(broker))


@pytest.mark.parametrize(("status", "error"), [(401, Wrong), (403, Wrong), (500, Missing), (429, Missing)])
def test_a_refusal_is_wrong_and_a_fault_is_missing(broker: Broker, status: int, error: type[StackError]) -> None:
    broker.status = status
    with pytest.raises(error) as found:
        check_alpaca(at(broker))
    assert SECRET not in str(found.value)
    assert "PKCANARY" not in str(found.value)


def test_nobody_there_is_missing() -> None:
    with pytest.raises(Missing, match="does not answer"):
        check_alpaca(settings_for("http://127.0.0.1:9"))


def test_an_answer_that_does_not_come_is_not_waited_for(broker: Broker) -> None:
    broker.seconds = 20
    began = time.monotonic()
    with pytest.raises(Missing, match="does not answer"):
        check_alpaca(at(broker))
    assert time.monotonic() - began < 15


def test_live_keys_at_a_paper_address_are_wrong_and_nobody_is_asked() -> None:
    with pytest.raises(Wrong, match="keys are live"):
        check_alpaca(settings_for("http://127.0.0.1:9", alpaca_key_id="AKCANARY"))
    assert check_clock(settings_for("http://127.0.0.1:9", alpaca_key_id="AKCANARY")) == "nothing to compare it with"


@pytest.mark.parametrize("seconds", [-45, -10, 10, 45])
def test_a_clock_that_differs_is_a_doubt_then_wrong(broker: Broker, seconds: int) -> None:
    broker.ahead = dt.timedelta(seconds=seconds)
    if abs(seconds) > 30:
        with pytest.raises(Wrong, match="NTP"):
            check_clock(at(broker))
        return
    said = check_clock(at(broker))
    assert isinstance(said, Doubtful)
    assert ("behind" in said) == (seconds > 0)


@pytest.mark.parametrize("broker_name", ["simulated", "external", "fake-alpaca"])
def test_whoever_does_not_use_alpaca_is_asked_nothing(broker_name: str) -> None:
    for check in (check_alpaca, check_clock):
        assert not isinstance(check(Settings(broker=broker_name)), Doubtful)  # type: ignore[arg-type]


def test_live_without_arming_is_a_doubt_that_says_how(tmp_path: pathlib.Path) -> None:
    said = check_arming(Settings(mode="live", data_dir=tmp_path))
    assert isinstance(said, Doubtful)
    assert "/api/trading/arm" in said
    assert not isinstance(check_arming(Settings(data_dir=tmp_path)), Doubtful)


def test_every_check_has_a_line(stonks: Stonks, broker: Broker) -> None:
    chosen = at(broker)
    looked = stonks.run(
        "doctor",
        STONKS_BROKER="alpaca",
        STONKS_ALPACA_KEY_ID=chosen.alpaca_key_id.get_secret_value(),
        STONKS_ALPACA_SECRET_KEY=SECRET,
        STONKS_ALPACA_TRADING_URL=chosen.alpaca_trading_url,
        STONKS_MODE="live",
    )
    lines = {line[4:16].strip(): line[:2] for line in looked.stdout.splitlines()}
    assert {name: lines[name] for name in doctor_broker.CHECKS} == {"Alpaca": "!!", "clock": "ok", "arming": ".."}
    assert looked.returncode == 1
    assert SECRET not in looked.stdout + looked.stderr


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"STONKS_BROKER": "alpaca", "STONKS_ALPACA_KEY_ID": "PKX", "STONKS_ALPACA_SECRET_KEY": SECRET}, ""),
        ({"STONKS_BROKER": "alpaca"}, "STONKS_ALPACA_KEY_ID"),
        ({"STONKS_KAFKA_SECURITY_PROTOCOL": "SSL"}, "name it with STONKS_KAFKA"),
        ({"STONKS_KAFKA_SASL_PASSWORD": SECRET}, "STONKS_KAFKA_SECURITY_PROTOCOL"),
    ],
)
def test_up_refuses_what_does_not_agree_before_anything_starts(
    stonks: Stonks, variables: dict[str, str], says: str
) -> None:
    if not says:
        variables, says = variables | {"STONKS_ALPACA_TRADING_URL": "https://api.alpaca.markets"}, "must agree"
    ended = stonks.run("up", **variables)
    assert ended.returncode == 2
    assert says in ended.stderr.splitlines()[-1]
    assert SECRET not in ended.stdout + ended.stderr
    assert not list(stonks.data_dir.glob("*.log"))
