"""Ticks on their way to a real log: held while older ones may come, then in time order, each once."""

import asyncio
import contextlib
import datetime as dt
import pathlib
import time
import uuid
from collections.abc import AsyncIterator, Collection
from decimal import Decimal
from typing import Any, cast

import pytest

from connectors import price_gaps
from connectors.alpaca_market import Away, MarketRest
from connectors.clients import producing
from connectors.price_gaps import GAP, PriceGaps
from connectors.price_history import History
from connectors.price_log import PriceLog
from connectors.price_sender import PriceSender
from tests.connectors.running import Topics, settings_of, topics_of
from trading.inputs import PriceTicks, Tick

AT = dt.datetime(2026, 11, 24, 15, 30, tzinfo=dt.UTC)


def tick(price: str, *, seconds: float = 0) -> Tick:
    return Tick(at=AT + dt.timedelta(seconds=seconds), price=Decimal(price), size=Decimal(1))


class Line:
    """A sender on a real topic."""

    def __init__(self, sender: PriceSender, topics: Topics) -> None:
        self.sender = sender
        self._topics = topics

    async def prices(self, symbol: str) -> list[str]:
        read = [one for one in await self._topics.read("price-ticks") if one["symbol"] == symbol]
        return [each["price"] for one in read for each in one.get("ticks") or [one]]

    async def until(self, symbol: str, *prices: str) -> None:
        deadline = time.monotonic() + 20
        while (found := await self.prices(symbol)) != list(prices):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.05)


@pytest.fixture
async def line(kafka: str, tmp_path: pathlib.Path) -> AsyncIterator[Line]:
    settings = settings_of(kafka, f"t{uuid.uuid4().hex[:10]}-", tmp_path)
    async with topics_of(settings) as topics, producing(settings) as producer:
        sender = PriceSender(producer, PriceLog(settings, tmp_path / "prices.json"), settings, source="test")
        sending = asyncio.create_task(sender.send())
        yield Line(sender, topics)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


@pytest.mark.integration
async def test_held_ticks_go_out_in_time_order_with_what_came_after_them_and_is_older(line: Line) -> None:
    line.sender.hold(["KO"], seconds=60)
    line.sender.add_tick("KO", tick("3", seconds=3))
    line.sender.add_tick("PEP", tick("9"))
    await line.until("PEP", "9")
    assert line.sender.holds("KO")
    assert await line.prices("KO") == []
    for late in (tick("2", seconds=2), tick("1", seconds=1), tick("3", seconds=3)):
        line.sender.add_tick("KO", late)
    line.sender.let_go(["KO"])
    await line.until("KO", "1", "2", "3")


@pytest.mark.integration
async def test_a_hold_ends_by_itself(line: Line) -> None:
    line.sender.hold(["KO"], seconds=0.3)
    line.sender.add_tick("KO", tick("3"))
    await line.until("KO", "3")
    assert not line.sender.holds("KO")


@pytest.mark.integration
async def test_a_stream_that_is_cut_again_and_again_holds_no_longer_than_the_first_time(line: Line) -> None:
    line.sender.hold(["KO"], seconds=0.3)
    line.sender.add_tick("KO", tick("3"))
    line.sender.hold(["KO"], seconds=60)
    await line.until("KO", "3")
    line.sender.let_go(["KO"])
    line.sender.hold(["KO"], seconds=60)
    assert line.sender.holds("KO")


@pytest.mark.integration
async def test_a_tick_far_ahead_of_the_clock_silences_no_symbol(kafka: str, tmp_path: pathlib.Path) -> None:
    settings = settings_of(kafka, f"t{uuid.uuid4().hex[:10]}-", tmp_path, clock="system")
    now = dt.datetime.now(dt.UTC)
    late, ahead = (Tick(at=now + dt.timedelta(days=days), price=Decimal(5), size=None) for days in (0, 9_000))
    async with topics_of(settings) as topics, producing(settings) as producer:
        await topics.send("price-ticks", PriceTicks(symbol="KO", price=ahead.price, at=ahead.at))
        prices = PriceLog(settings, tmp_path / "prices.json")
        await prices.catch_up()
        assert prices.tick_at("KO") is None
        line = Line(PriceSender(producer, prices, settings, source="test"), topics)
        line.sender.add_tick("KO", ahead)
        line.sender.add_tick("KO", late)
        sending = asyncio.create_task(line.sender.send())
        await line.until("KO", "5", "5")
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        assert prices.tick_at("KO") == late.at


@pytest.mark.integration
async def test_trades_of_one_instant_are_all_sent_and_each_once_whenever_they_come(line: Line) -> None:
    """One large order meets several of the book at one instant; the last of them may be the lowest."""
    line.sender.add_tick("KO", tick("10"))
    await line.until("KO", "10")
    for again in (tick("10"), tick("9"), tick("8", seconds=-1)):
        line.sender.add_tick("KO", again)
    await line.until("KO", "10", "9")
    for again in (tick("10"), tick("9"), tick("11", seconds=1)):
        line.sender.add_tick("KO", again)
    await line.until("KO", "10", "9", "11")


class Rest:
    """A REST whose answers the test gives."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[str, frozenset[str]]] = asyncio.Queue()
        self.answers: asyncio.Queue[dict[str, Any] | Away] = asyncio.Queue()

    async def latest_trades(self, symbols: Collection[str]) -> dict[str, Any]:
        return await self._ask("latest", symbols)

    async def trades(self, symbols: Collection[str], *, start: dt.datetime) -> dict[str, Any]:
        assert start == AT - GAP
        return await self._ask("trades", symbols)

    async def _ask(self, what: str, symbols: Collection[str]) -> dict[str, Any]:
        self.asked.put_nowait((what, frozenset(symbols)))
        answer = await self.answers.get()
        if isinstance(answer, Away):
            raise answer
        return answer


class Hands:
    """What holds ticks and bars, and what was taken."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.bars_are_held = False
        self.taken: list[tuple[str, Any]] = []

    def as_sender(self) -> PriceSender:
        hands = self

        class Sender:
            def hold(self, symbols: Collection[str], *, seconds: float) -> None:
                assert seconds == price_gaps.SECONDS_HELD
                hands.held |= set(symbols)

            def let_go(self, symbols: Collection[str]) -> None:
                hands.held -= set(symbols)

        return cast(PriceSender, Sender())

    def as_history(self) -> History:
        hands = self

        class Bars:
            def hold(self) -> None:
                hands.bars_are_held = True

            def let_go(self) -> None:
                hands.bars_are_held = False

            async def fill_minutes(self, symbols: Collection[str]) -> None:
                pass

        return cast(History, Bars())

    def take(self, symbol: str, trade: Any) -> None:
        self.taken.append((symbol, trade))


class Scene:
    def __init__(self) -> None:
        self.rest, self.hands = Rest(), Hands()
        self.gaps = PriceGaps(
            cast(MarketRest, self.rest),
            self.hands.as_sender(),
            self.hands.as_history(),
            take=self.hands.take,
            now=lambda: AT,
            rest_seconds=0,
        )

    async def asked(self) -> tuple[str, frozenset[str]]:
        async with asyncio.timeout(5):
            return await self.rest.asked.get()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    here = Scene()
    filling = asyncio.create_task(here.gaps.fill())
    yield here
    filling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await filling


async def test_a_gap_is_asked_for_once_it_is_confirmed_and_the_last_trade_first(scene: Scene) -> None:
    scene.gaps.begin(["KO", "PEP"])
    await scene.settle()
    assert scene.rest.asked.empty()  # a trade before the stream tells would be in neither
    scene.gaps.confirm(["KO", "SPY"])
    assert await scene.asked() == ("latest", frozenset({"KO"}))
    scene.rest.answers.put_nowait({"KO": "last"})
    assert await scene.asked() == ("trades", frozenset({"KO"}))
    assert scene.hands.held == {"KO", "PEP"}
    scene.rest.answers.put_nowait({"KO": ["first", "second"]})
    await scene.settle()
    assert scene.hands.taken == [("KO", "first"), ("KO", "second"), ("KO", "last")]
    assert (scene.hands.held, scene.hands.bars_are_held) == ({"PEP"}, True)
    scene.gaps.drop(["PEP"])
    assert (scene.hands.held, scene.hands.bars_are_held) == (set(), False)


async def test_a_gap_that_begins_anew_while_it_is_filled_stays_until_it_is_confirmed_again(scene: Scene) -> None:
    scene.gaps.begin(["KO"])
    scene.gaps.confirm(["KO"])
    await scene.asked()
    scene.gaps.begin(["KO"])  # the stream was cut, and joined again
    for answer in ({}, {}):
        scene.rest.answers.put_nowait(answer)
    await scene.settle()
    assert scene.hands.held == {"KO"}
    scene.gaps.confirm(["KO"])
    for answer in ({}, {}):
        scene.rest.answers.put_nowait(answer)
    await scene.settle()
    assert scene.hands.held == set()


async def test_a_confirmation_by_a_connection_that_was_cut_counts_no_more(scene: Scene) -> None:
    scene.gaps.begin(["KO"])
    scene.gaps.confirm(["KO"])
    scene.gaps.begin(["KO"])
    await scene.settle()
    assert scene.rest.asked.empty()


async def test_what_the_stream_never_confirms_is_asked_for_all_the_same(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.gaps.confirm([])
    await scene.settle()
    monkeypatch.setattr(price_gaps, "SECONDS_HELD", 0.02)
    scene.gaps.begin(["KO"])
    scene.gaps.confirm(["PEP"])
    assert await scene.asked() == ("latest", frozenset({"KO"}))


async def test_a_rest_that_is_away_is_asked_again_but_not_for_a_gap_that_has_begun_anew(scene: Scene) -> None:
    scene.gaps.begin(["KO", "PEP"])
    scene.gaps.confirm(["KO", "PEP"])
    await scene.asked()
    scene.gaps.begin(["PEP"])
    scene.rest.answers.put_nowait(Away("it is away"))
    assert await scene.asked() == ("latest", frozenset({"KO"}))
    for answer in ({}, {}):
        scene.rest.answers.put_nowait(answer)
    await scene.settle()
    assert scene.hands.held == {"PEP"}
