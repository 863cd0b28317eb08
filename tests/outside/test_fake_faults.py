"""Each scripted fault does what its name says, and the fake's own log tells what really happened."""

import asyncio
import contextlib
import datetime as dt
import json
import pathlib
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.fakes.alpaca import FakeAlpaca, Fault
from tests.fakes.alpaca.faults import Kind

IN_SESSION = dt.datetime(2026, 11, 24, 15, 30, tzinfo=dt.UTC)


class Caller:
    """Speak plain HTTP to the fake: what a fault does to an answer is looked at, not what a client makes of it."""

    def __init__(self, fake: FakeAlpaca, session: aiohttp.ClientSession) -> None:
        self.fake = fake
        self._session = session
        self.headers = {"APCA-API-KEY-ID": fake.keys.key_id, "APCA-API-SECRET-KEY": fake.keys.secret_key}

    async def call(self, method: str, path: str, body: Any = None, *, seconds: float = 5) -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=seconds)
        url = f"{self.fake.url}{path}"
        async with self._session.request(method, url, json=body, headers=self.headers, timeout=timeout) as answer:
            return answer.status, await answer.text()

    async def order(self, name: str = "one", *, seconds: float = 5, **changes: Any) -> tuple[int, str]:
        body = {"symbol": "F", "qty": "4", "side": "buy", "type": "market", "time_in_force": "day"}
        return await self.call("POST", "/v2/orders", {**body, "client_order_id": name, **changes}, seconds=seconds)

    def created(self, name: str = "one") -> int:
        return len(self.fake.log.of("created", client_order_id=name))

    async def until_filled(self, name: str = "one") -> None:
        for _ in range(200):
            if self.fake.log.of("fill", client_order_id=name, leaves_qty="0"):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(self.fake.log.entries)


@pytest_asyncio.fixture
async def caller() -> AsyncIterator[Caller]:
    async with (
        FakeAlpaca(at=IN_SESSION, prices={"F": Decimal(11)}) as fake,
        aiohttp.ClientSession() as session,
    ):
        yield Caller(fake, session)


@pytest.mark.parametrize(("kind", "status"), [("504_before", 504), ("429", 429), ("403_held", 403), ("422", 422)])
async def test_a_refused_request_has_no_effect_and_the_next_one_is_served(
    caller: Caller, kind: Kind, status: int
) -> None:
    caller.fake.faults.add(Fault(kind, method="POST", path="/v2/orders"))
    assert (await caller.order())[0] == status
    assert caller.created() == 0
    assert (await caller.order())[0] == 200
    assert [one["fault"] for one in caller.fake.log.of("request")] == [kind, ""]


async def test_a_504_after_acceptance_hides_an_order_that_is_there(caller: Caller) -> None:
    caller.fake.faults.add(Fault("504_after", method="POST"))
    assert (await caller.order())[0] == 504
    assert caller.created() == 1
    status, text = await caller.order()
    assert (status, json.loads(text)["message"]) == (422, "client_order_id must be unique")


@pytest.mark.parametrize(("kind", "created"), [("hang_after", 1), ("hang_before", 0)])
async def test_a_hanging_request_answers_nothing(caller: Caller, kind: Kind, created: int) -> None:
    caller.fake.faults.add(Fault(kind, method="POST"))
    with pytest.raises(TimeoutError):
        await caller.order(seconds=0.3)
    assert caller.created() == created


@pytest.mark.parametrize(("kind", "created"), [("reset_in_body", 1), ("reset_before", 0)])
async def test_a_reset_ends_the_connection(caller: Caller, kind: Kind, created: int) -> None:
    caller.fake.faults.add(Fault(kind, method="POST"))
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await caller.order()
    assert caller.created() == created


async def test_a_garbage_body_hides_an_order_that_is_there(caller: Caller) -> None:
    caller.fake.faults.add(Fault("garbage", method="POST"))
    status, text = await caller.order()
    assert status == 200
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(text)
    assert caller.created() == 1


async def test_a_slow_answer_comes_late(caller: Caller) -> None:
    caller.fake.faults.add(Fault("slow", seconds=0.3))
    began = time.monotonic()
    assert (await caller.order())[0] == 200
    assert time.monotonic() - began >= 0.3


async def test_a_rate_limit_says_when_to_come_back_where_it_is_told_to(caller: Caller) -> None:
    caller.fake.faults.add(Fault("429", retry_after=7))
    async with aiohttp.ClientSession(headers=caller.headers) as session:
        async with session.get(f"{caller.fake.url}/v2/account") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        caller.fake.faults.add(Fault("429"))
        async with session.get(f"{caller.fake.url}/v2/account") as answer:
            assert "Retry-After" not in answer.headers


async def test_a_lagging_read_shows_the_past_and_only_reads_lag(caller: Caller) -> None:
    await asyncio.sleep(0.3)
    caller.fake.faults.add(Fault("lag", seconds=0.25, times=0))
    assert (await caller.order())[0] == 200
    assert (await caller.call("GET", "/v2/orders:by_client_order_id?client_order_id=one"))[0] == 404
    await asyncio.sleep(0.3)
    assert (await caller.call("GET", "/v2/orders:by_client_order_id?client_order_id=one"))[0] == 200


async def test_an_order_fills_in_parts_of_which_the_last_may_never_come(caller: Caller) -> None:
    caller.fake.faults.add(Fault("partial_fills", parts=4, filled_parts=3, seconds=0.05))
    await caller.order()
    for _ in range(100):
        if len(caller.fake.log.of("fill")) == 3:
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    fills = caller.fake.log.of("fill")
    assert [(one["qty"], one["cum_qty"], one["leaves_qty"]) for one in fills] == [
        ("1", "1", "3"),
        ("1", "2", "2"),
        ("1", "3", "1"),
    ]
    assert fills[1]["monotonic"] - fills[0]["monotonic"] >= 0.05
    order = caller.fake.exchange.state.by_client_order_id("one")
    assert (order.status, order.shown()["filled_avg_price"]) == ("partially_filled", "11")


async def test_a_slow_cancel_is_pending_before_it_is_done(caller: Caller) -> None:
    caller.fake.faults.add(Fault("slow_cancel", method="POST", seconds=0.2))
    _, text = await caller.order()
    assert (await caller.call("DELETE", f"/v2/orders/{json.loads(text)['id']}"))[0] == 204
    assert caller.fake.exchange.state.by_client_order_id("one").status == "pending_cancel"
    await asyncio.sleep(0.35)
    assert caller.fake.exchange.state.by_client_order_id("one").status == "canceled"


@contextlib.asynccontextmanager
async def listening(fake: FakeAlpaca) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Listen to the trade updates as the documentation says it, by hand."""
    async with aiohttp.ClientSession() as session, session.ws_connect(fake.updates_url) as socket:
        login = {"key_id": fake.keys.key_id, "secret_key": fake.keys.secret_key}
        await socket.send_json({"action": "authenticate", "data": login})
        assert (await told(socket))["data"]["status"] == "authorized"
        await socket.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
        assert (await told(socket))["data"]["streams"] == ["trade_updates"]
        yield socket


async def told(socket: aiohttp.ClientWebSocketResponse) -> Any:
    return json.loads(await socket.receive_bytes(timeout=5))


async def events(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[str]:
    return [(await told(socket))["data"]["event"] for _ in range(count)]


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        (Fault("duplicate_updates", event="fill"), ["new", "fill", "fill"]),
        (Fault("drop_updates", event="new"), ["fill"]),
        (Fault("reorder_updates", event="new"), ["fill", "new"]),
        (Fault("fill_first", method="POST"), ["fill"]),
    ],
    ids=lambda one: one.kind if isinstance(one, Fault) else "",
)
async def test_updates_come_twice_never_or_in_another_order(caller: Caller, fault: Fault, heard: list[str]) -> None:
    async with listening(caller.fake) as socket:
        caller.fake.faults.add(Fault(fault.kind, method=fault.method, event=fault.event))
        await caller.order()
        assert await events(socket, len(heard)) == heard


async def test_a_fill_can_be_heard_of_before_the_order_is_answered(caller: Caller) -> None:
    caller.fake.faults.add(Fault("fill_first", method="POST"))
    _, text = await caller.order()
    assert json.loads(text)["status"] == "filled"


async def test_a_mute_stream_stays_connected_and_says_nothing(caller: Caller) -> None:
    async with listening(caller.fake) as socket:
        caller.fake.faults.add(Fault("mute", path="/stream", times=0))
        await caller.order()
        await caller.until_filled()
        with pytest.raises(TimeoutError):
            await socket.receive_bytes(timeout=0.2)
        assert not socket.closed
        caller.fake.faults.clear()
        await caller.order("two")
        assert await events(socket, 2) == ["new", "fill"]


async def test_wrong_keys_hear_nothing(caller: Caller) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(caller.fake.updates_url) as socket:
        await socket.send_json({"action": "authenticate", "data": {"key_id": "PK", "secret_key": "no"}})
        assert (await told(socket))["data"]["status"] == "unauthorized"
        await socket.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
        assert (await told(socket))["data"]["status"] == "unauthorized"


async def test_faults_prices_clock_and_account_are_set_over_http(caller: Caller) -> None:
    assert (await caller.call("POST", "/fake/faults", {"kind": "no such"}))[0] == 400
    assert (await caller.call("POST", "/fake/faults", [{"kind": "422", "method": "POST", "message": "no"}]))[0] == 200
    assert (await caller.order())[0] == 422
    _, text = await caller.call("GET", "/fake/faults")
    assert [(one["kind"], one["met"]) for one in json.loads(text)] == [("422", 1)]
    await caller.call("DELETE", "/fake/faults")
    await caller.call("POST", "/fake/prices", {"F": "12.50", "NEW": "3"})
    foreign = {"symbol": "NEW", "qty": "7", "avg_entry_price": "2"}
    await caller.call("POST", "/fake/account", {"cash": "321", "positions": [foreign]})
    _, text = await caller.call("GET", "/v2/account")
    assert json.loads(text)["equity"] == "342"  # 321 + 7 x 3
    await caller.call("POST", "/fake/clock", {"now": "2026-11-26T15:00:00Z", "rate": 0})
    _, text = await caller.call("GET", "/v2/clock")
    assert (json.loads(text)["is_open"], json.loads(text)["next_open"][:16]) == (False, "2026-11-27T09:30")
    _, text = await caller.call("GET", "/fake/log?what=refused")
    assert json.loads(text) == []  # a scripted refusal is no refusal of the broker's


async def test_a_script_plays_prices_one_after_another(caller: Caller) -> None:
    caller.fake.market.play("F", [Decimal(10), Decimal(9), Decimal(8)], seconds=0.02)
    for _ in range(100):
        if caller.fake.market.prices()["F"] == 8:
            break
        await asyncio.sleep(0.02)
    assert [trade.price for trade in caller.fake.market.listings["F"].tape][-3:] == [10, 9, 8]


async def test_everything_survives_a_restart(tmp_path: pathlib.Path) -> None:
    kept = tmp_path / "fake.sqlite"
    async with (
        FakeAlpaca(at=IN_SESSION, prices={"F": Decimal(11)}, path=kept) as fake,
        aiohttp.ClientSession() as session,
    ):
        caller = Caller(fake, session)
        fake.faults.add(Fault("partial_fills", parts=2, filled_parts=1))
        await caller.order()
        await caller.order("two")
        await caller.until_filled("two")
        fake.market.set_price("F", Decimal("12.25"))
        before, told_before = fake.exchange.state, fake.log.entries
    assert kept.stat().st_mode & 0o777 == 0o600
    async with (
        FakeAlpaca(at=IN_SESSION, prices={"F": Decimal(11)}, path=kept) as fake,
        aiohttp.ClientSession() as session,
    ):
        assert fake.exchange.state == before
        assert fake.log.entries == told_before
        assert fake.market.prices() == {"F": Decimal("12.25")}
        assert fake.clock.now() > IN_SESSION
        caller = Caller(fake, session)
        assert (await caller.order())[0] == 422  # its id has been used
        order = fake.exchange.state.by_client_order_id("one")
        assert (order.status, order.filled_qty) == ("partially_filled", 2)
        await caller.call("DELETE", f"/v2/orders/{order.id}")
        assert fake.exchange.state.order(order.id).status == "canceled"
