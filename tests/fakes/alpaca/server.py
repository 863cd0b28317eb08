"""The server: everything of the fake on one loopback port, built once and stepped forward by one task."""

import asyncio
import contextlib
import datetime as dt
import pathlib
from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import Self

from aiohttp import web

from tests.fakes.alpaca.book import Fill, State
from tests.fakes.alpaca.clock import MarketClock
from tests.fakes.alpaca.control import Control
from tests.fakes.alpaca.data_api import DataApi
from tests.fakes.alpaca.exchange import Exchange
from tests.fakes.alpaca.faults import Faults
from tests.fakes.alpaca.feed import MarketFeed
from tests.fakes.alpaca.gate import gate
from tests.fakes.alpaca.history import Day, days_of_folder
from tests.fakes.alpaca.keys import TEST_KEYS, Keys
from tests.fakes.alpaca.market import Market
from tests.fakes.alpaca.order_log import OrderLog
from tests.fakes.alpaca.orders import Order
from tests.fakes.alpaca.store import Store
from tests.fakes.alpaca.trading_api import ACCOUNT_NUMBER, TradingApi
from tests.fakes.alpaca.updates import PATH, TradeUpdates
from tests.fakes.alpaca.wire import Json

LOOPBACK = "127.0.0.1"
STEP_SECONDS = 0.02
SECONDS_BETWEEN_SAVES = 1.0


class FakeAlpaca:
    """One paper account at an Alpaca of one's own: `async with FakeAlpaca() as fake`.

    `at` sets the exchange's clock (None: the wall clock), `prices` lists symbols with a seeded past, `bars` names a
    folder of real ones, `path` a file by which it survives a restart. `exchange`, `market`, `faults`, `updates`, `feed`
    and `log` are there for tests; everything runs on the loop that starts it.
    """

    def __init__(
        self,
        *,
        cash: Decimal = Decimal(100_000),
        prices: Mapping[str, Decimal] | None = None,
        at: dt.datetime | None = None,
        rate: float = 1.0,
        seed: int = 1,
        half_spread: Decimal = Decimal(0),
        bars: pathlib.Path | None = None,
        path: pathlib.Path | None = None,
        keys: Keys = TEST_KEYS,
        symbol_limit: int = 0,
        number: str = ACCOUNT_NUMBER,
    ) -> None:
        self.keys = keys
        self._number = number
        self.faults = Faults()
        self._store = Store(path) if path else None
        known_now, known_prices = self._store.market() if self._store else (None, {})
        if at is not None and known_now is not None:
            at = max(at, known_now)
        self.clock = MarketClock(at, rate=rate)
        self.market = Market(self.clock, seed=seed, half_spread=half_spread)
        self.updates = TradeUpdates(keys, self.faults)
        self.feed = MarketFeed(self.market, keys, self.faults, symbol_limit=symbol_limit)
        store = self._store
        self.log = OrderLog(store.keep_entry, store.log_entries()) if store else OrderLog()
        state = (store.state() if store else None) or State(cash)
        self.exchange = Exchange(self.market, self.log, state, publish=self._publish, keeper=store)
        if store is not None:
            store.keep(state)
        self._list(days_of_folder(bars) if bars else {}, {**(prices or {}), **known_prices})
        self._runner: web.AppRunner | None = None
        self._stepping: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, *, port: int = 0, host: str = LOOPBACK) -> None:
        """Listen; port 0 is any free one. Raises OSError."""
        app = web.Application(middlewares=[gate(self.keys, self.faults, self._note)])
        app.add_routes(TradingApi(self.exchange, created_at=self.clock.now(), number=self._number).routes())
        app.add_routes(DataApi(self.market).routes())
        app.add_routes(Control(self.exchange, self.faults, self.updates, self.feed).routes())
        app.add_routes([web.get(PATH, self.updates.serve)])
        app.add_routes([web.get(f"/v2/{feed}", self.feed.serve) for feed in ("iex", "sip", "test")])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        self._stepping = asyncio.create_task(self._step())

    async def stop(self) -> None:
        """End everything, and keep the market as it is."""
        if self._stepping is not None:
            self._stepping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._stepping
        self.updates.cut()
        self.feed.cut()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._store is not None:
            self._store.keep_market(self.clock.now(), self.market.prices())
            self._store.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Return where trading and market data API are, without `/v2`."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def stream_url(self) -> str:
        """Return where the market data stream is, without `/v2/{feed}`."""
        return f"ws://{LOOPBACK}:{self.port}"

    @property
    def updates_url(self) -> str:
        """Return where the stream of trade updates is."""
        return f"ws://{LOOPBACK}:{self.port}{PATH}"

    def _list(self, days: Mapping[str, tuple[Day, ...]], prices: Mapping[str, Decimal]) -> None:
        for symbol, past in days.items():
            self.market.list_symbol(symbol, price=prices.get(symbol, past[-1].close), days=past)
        for symbol, price in prices.items():
            if symbol not in days:
                self.market.list_symbol(symbol, price=price)

    def _publish(self, event: str, order: Order, fill: Fill | None, position_qty: Decimal) -> None:
        self.updates.publish(event, order, fill, position_qty, at=self.clock.now())

    def _note(self, method: str, path: str, order: Json, fault: str) -> None:
        if method in ("POST", "DELETE"):
            named = {name: order[name] for name in ("client_order_id", "symbol", "side", "qty") if name in order}
            self.log.add("request", self.clock.now(), method=method, path=path, fault=fault, **named)

    async def _step(self) -> None:
        loop = asyncio.get_running_loop()
        saved_at = loop.time()
        while True:
            self.market.step()
            self.exchange.step()
            if self._store is not None and loop.time() - saved_at > SECONDS_BETWEEN_SAVES:
                saved_at = loop.time()
                self._store.keep_market(self.clock.now(), self.market.prices())
            await asyncio.sleep(STEP_SECONDS)
