"""Alpaca's market data over REST: alpaca-py's client in threads, our timeouts, our pace, no retries."""

import asyncio
import datetime as dt
import functools
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from connectors.alpaca_client import ThreadedClient, Timeouts
from connectors.alpaca_prices_read import Raw
from connectors.alpaca_rest import AlpacaRest

if TYPE_CHECKING:
    from alpaca.data.historical.stock import StockHistoricalDataClient

REQUESTS_A_MINUTE = 180  # Alpaca takes 200 of an account without a subscription
SYMBOLS_A_REQUEST = 50
TIMEOUTS = Timeouts(read=10.0, whole=30.0)
_THREADS = 4


class Away(ConnectionError):
    """Say why Alpaca's market data gave no answer."""


class Pace:
    """Let so many requests through in any minute; the next one waits."""

    def __init__(self, requests_a_minute: int = REQUESTS_A_MINUTE) -> None:
        self._most = requests_a_minute
        self._times: deque[float] = deque()

    async def turn(self) -> None:
        """Return when it is one's turn."""
        while True:
            now = time.monotonic()
            while self._times and self._times[0] <= now - 60:
                self._times.popleft()
            if len(self._times) < self._most:
                self._times.append(now)
                return
            await asyncio.sleep(self._times[0] + 60 - now)


class MarketRest:
    """Ask for the prices of many symbols at once; every method raises `Away` and nothing else."""

    def __init__(
        self,
        *,
        key_id: SecretStr,
        secret_key: SecretStr,
        data_url: str = "",
        trading_url: str = "",
        feed: str = "iex",
        paper: bool = True,
        pace: Pace | None = None,
    ) -> None:
        self._keys = (key_id, secret_key)
        self._url, self._feed = data_url.rstrip("/"), feed
        self._pace = pace or Pace()
        self._prices = ThreadedClient(self._new_client, timeouts=TIMEOUTS, threads=_THREADS)
        self._trading = AlpacaRest(key_id=key_id, secret_key=secret_key, url=trading_url, paper=paper)

    def close(self) -> None:
        """Take no further call; those under way end by their timeouts."""
        self._prices.close()
        self._trading.close()

    async def daily_bars(
        self, symbols: Collection[str], *, start: dt.datetime, end: dt.datetime
    ) -> Mapping[str, Sequence[Raw]]:
        """Return the daily bars of a span, adjusted for splits, oldest first."""
        return await self._each(symbols, functools.partial(_bars, timeframe="1Day", start=start, end=end))

    async def minute_bars(
        self, symbols: Collection[str], *, start: dt.datetime, end: dt.datetime
    ) -> Mapping[str, Sequence[Raw]]:
        """Return the minute bars of a span, oldest first."""
        return await self._each(symbols, functools.partial(_bars, timeframe="1Min", start=start, end=end))

    async def trades(self, symbols: Collection[str], *, start: dt.datetime) -> Mapping[str, Sequence[Raw]]:
        """Return every trade since a recent instant, oldest first."""
        return await self._each(symbols, functools.partial(_trades, start=start))

    async def latest_trades(self, symbols: Collection[str]) -> Mapping[str, Raw]:
        """Return the last trade of each symbol that has one."""
        return await self._each(symbols, _latest_trades)

    async def latest_quotes(self, symbols: Collection[str]) -> Mapping[str, Raw]:
        """Return the quote of each symbol that has one."""
        return await self._each(symbols, _latest_quotes)

    async def clock(self) -> dt.datetime:
        """Return the exchange's time as the trading API says it."""
        await self._pace.turn()
        answer = await self._trading.clock()
        if answer.outcome != "done":
            raise Away(answer.reason)
        try:
            return dt.datetime.fromisoformat(answer.body["timestamp"]).astimezone(dt.UTC)
        except (KeyError, TypeError, ValueError) as error:
            raise Away("its clock cannot be read") from error

    async def _each(self, symbols: Collection[str], ask: Callable[..., Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        wanted = sorted(symbols)
        for begin in range(0, len(wanted), SYMBOLS_A_REQUEST):
            some = wanted[begin : begin + SYMBOLS_A_REQUEST]
            await self._pace.turn()
            try:
                answer = await self._prices.ask(functools.partial(ask, symbols=some, feed=self._feed))
            except Exception as error:  # whatever the client or the network says
                raise Away(f"{type(error).__name__}: {error}"[:300]) from error
            if not isinstance(answer, dict):
                raise Away("an answer that is no object")
            found |= answer
        return found

    def _new_client(self) -> "StockHistoricalDataClient":
        from alpaca.data.historical.stock import StockHistoricalDataClient  # noqa: PLC0415 - slow to import

        key_id, secret_key = (key.get_secret_value() for key in self._keys)
        return StockHistoricalDataClient(key_id, secret_key, raw_data=True, url_override=self._url or None)


def _bars(client: Any, symbols: list[str], feed: str, *, timeframe: str, start: dt.datetime, end: dt.datetime) -> Any:
    from alpaca.data.enums import Adjustment, DataFeed  # noqa: PLC0415 - slow to import
    from alpaca.data.requests import StockBarsRequest  # noqa: PLC0415
    from alpaca.data.timeframe import TimeFrame, TimeFrameUnit  # noqa: PLC0415

    unit = TimeFrameUnit.Day if timeframe == "1Day" else TimeFrameUnit.Minute
    asked = StockBarsRequest(
        symbol_or_symbols=symbols,
        timeframe=TimeFrame(1, unit),
        start=start,
        end=end,
        adjustment=Adjustment.SPLIT,
        feed=DataFeed(feed),
    )
    return client.get_stock_bars(asked)


def _trades(client: Any, symbols: list[str], feed: str, *, start: dt.datetime) -> Any:
    from alpaca.data.enums import DataFeed  # noqa: PLC0415 - slow to import
    from alpaca.data.requests import StockTradesRequest  # noqa: PLC0415

    asked = StockTradesRequest(symbol_or_symbols=symbols, start=start, feed=DataFeed(feed))  # until Alpaca's own now
    return client.get_stock_trades(asked)


def _latest_trades(client: Any, symbols: list[str], feed: str) -> Any:
    from alpaca.data.enums import DataFeed  # noqa: PLC0415 - slow to import
    from alpaca.data.requests import StockLatestTradeRequest  # noqa: PLC0415

    return client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=symbols, feed=DataFeed(feed)))


def _latest_quotes(client: Any, symbols: list[str], feed: str) -> Any:
    from alpaca.data.enums import DataFeed  # noqa: PLC0415 - slow to import
    from alpaca.data.requests import StockLatestQuoteRequest  # noqa: PLC0415

    return client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=symbols, feed=DataFeed(feed)))
