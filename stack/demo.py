"""`stonks up --demo`: a year of real prices through the whole stack in a few minutes, and a trail a person can read.

The engine runs on event time (`STONKS_CLOCK=events`) with 500 USD. Each step sends one instant's ticks, or a close's
bars, and waits until the engine has applied them, as if the year went by tick by tick. The recommendations are those of
the sample producers (`connectors/samples.py`); the policy is changed at first, as an operator would.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
import asyncpg
from aiokafka import AIOKafkaProducer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from connectors.samples import momentum
from stack.demo_market import SECTORS, TICK_MINUTES, TREND_MINUTE, Market
from stack.engine import Addresses
from stack.errors import StackError
from streams.codec import encode
from streams.security import for_aiokafka
from streams.settings import Settings
from trading.trading_window import Session

SECONDS_FOR_ONE_STEP = 60.0
OPERATOR = {"micro_trading_enabled": True, "base_allocation_pct": "0.08", "tier_minimum_trades": 18}
"""What the demo's operator changes at first: more at stake, and more trades before the tier is judged, so that the year
shows every rule."""
TOPIC_OF = {
    "Company": "companies",
    "PriceBar": "price-bars",
    "PriceTicks": "price-ticks",
    "MarketStress": "market-stress",
    "Recommendation": "recommendations",
    "TrendSummary": "trend-summaries",
}


class Demo:
    """Drive one stack through the year: `send` produces and waits, `run` goes from session to session."""

    def __init__(
        self, settings: Settings, addresses: Addresses, *, token: str, say: Callable[[str], None], speed: float
    ) -> None:
        self._settings = settings
        self._addresses = addresses
        self._headers = {"Authorization": f"Bearer {token}"}
        self._say = say
        self._speed = speed
        self._market = Market()

    async def run(self) -> None:
        """Replay the year and print the report; raise `StackError` when the engine stops applying records."""
        self._producer = AIOKafkaProducer(
            **for_aiokafka(self._settings, self._addresses.kafka), acks="all", linger_ms=2
        )
        await self._producer.start()
        try:
            async with aiohttp.ClientSession(base_url=self._addresses.http, headers=self._headers) as self._http:
                await self._send(self._market.companies())
                await self._send(self._market.history())
                await self._configure(**OPERATOR)
                await self._replay()
                await self._until("projection_lag")
                await self._report()
        finally:
            await self._producer.stop()

    async def _replay(self) -> None:
        sessions = self._market.sessions
        console = Console(highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("replay", total=len(sessions))
            for number, session in enumerate(sessions, start=1):
                began = time.monotonic()
                await self._session(session)
                status = await self._status()
                line = (
                    f"{session.on}  equity {status['total_value']}  reserve {status['reserve_pool']}  "
                    f"positions {status['open_positions']}  heat {float(status['portfolio_heat']):.2f}"
                )
                progress.update(task, advance=1, description=line)
                if not console.is_terminal and (number % 10 == 0 or number == len(sessions)):
                    self._say(f"{number:>3}/{len(sessions)}  {line}")
                if self._speed > 0:
                    await asyncio.sleep(max(0.0, 1 / self._speed - (time.monotonic() - began)))

    async def _session(self, session: Session) -> None:
        for minute in TICK_MINUTES:
            reading = self._market.stress(session) if minute == TICK_MINUTES[0] else None
            await self._send([*([reading] if reading is not None else []), *self._market.ticks(session, minute)])
            if minute == TREND_MINUTE:
                await self._send(self._market.trends(session, minute))
        await self._send(self._market.bars(session))
        signals = (
            momentum(symbol, self._market.closes(symbol, until=session.on), generated_at=session.close_at)
            for symbol in SECTORS
        )
        await self._send(signal for signal in signals if signal is not None)

    async def _configure(self, **changes: Any) -> None:
        """Change the policy, and confirm what loosens a limit."""
        async with self._http.get("/api/trading/config") as answer:
            body: dict[str, Any] = {"version": (await answer.json())["version"], **changes}
        async with self._http.put("/api/trading/config", json=body) as answer:
            status, said = answer.status, await answer.json()
        if status == 202 and "confirmation_token" in said:
            body["confirmation_token"] = said["confirmation_token"]
            async with self._http.put("/api/trading/config", json=body) as answer:
                status, said = answer.status, await answer.json()
        if status != 200:
            raise StackError(f"the demo cannot change the policy: {status} {said.get('detail') or said}")

    async def _send(self, records: Iterable[BaseModel]) -> None:
        """Produce records, then wait until everything they led to has been applied."""
        sent = []
        for record in records:
            key = "market" if type(record).__name__ == "MarketStress" else getattr(record, "symbol", "")
            topic = self._settings.topic(TOPIC_OF[type(record).__name__])
            sent.append(await self._producer.send(topic, encode(record), key=key.encode()))
        if sent:
            await asyncio.gather(*sent)
            await self._until("lag")

    async def _until(self, lag: str) -> None:
        deadline = time.monotonic() + SECONDS_FOR_ONE_STEP
        while (status := await self._status())[lag] != 0:
            if time.monotonic() > deadline:
                raise StackError(f"the engine has not applied the demo's records: {lag} stays at {status[lag]}")
            await asyncio.sleep(0.005)

    async def _status(self) -> dict[str, Any]:
        """Return the engine's status; a stack that is restarting something is asked again."""
        deadline = time.monotonic() + SECONDS_FOR_ONE_STEP
        while True:
            try:
                async with self._http.get("/api/trading/status") as answer:
                    if answer.status == 200:
                        status: dict[str, Any] = await answer.json()
                        return status
                    problem = f"it answers {answer.status}"
            except aiohttp.ClientError as error:
                problem = str(error)
            if time.monotonic() > deadline:
                raise StackError(f"the API does not say the engine's status: {problem}")
            await asyncio.sleep(0.2)

    async def _report(self) -> None:
        """Print what the year came to: decisions by reason, orders, trades, breakers, equity and reserve."""
        connection = await asyncpg.connect(self._addresses.reader_url)
        try:
            await self._table(connection, "Decisions", _DECISIONS)
            await self._table(connection, "Orders", _ORDERS)
            await self._table(connection, "Closed trades", _TRADES)
            await self._table(connection, "Micro trades", _MICRO)
            await self._table(connection, "Circuit breakers", _BREAKERS)
            await self._table(connection, "Risk tier", _TIERS)
            await self._table(connection, "Rebalances", _REBALANCES)
            await self._table(connection, "Entries in tranches", _TRANCHES)
            await self._table(connection, "Wash sales", _WASH_SALES)
            await self._table(connection, "Stops raised", _STOPS)
        finally:
            await connection.close()
        status = await self._status()
        self._say("")
        self._say(
            f"Equity {status['total_value']} USD of 500, active pool {status['active_pool']}, reserve "
            f"{status['reserve_pool']}, open positions {status['open_positions']}, tier {status['risk_tier']}"
        )

    async def _table(self, connection: "asyncpg.Connection[asyncpg.Record]", title: str, query: str) -> None:
        rows = await connection.fetch(query, self._settings.accounts[0])
        self._say("")
        self._say(title)
        for row in rows:
            self._say(
                "  " + "  ".join(f"{value!s:<24}" if index == 0 else str(value) for index, value in enumerate(row))
            )
        if not rows:
            self._say("  none")


_DECISIONS = """
SELECT decision || coalesce(': ' || skip_reason, ' (' || source_type || ')') AS what, count(*)
  FROM trading_decisions WHERE account_id = $1 GROUP BY 1 ORDER BY 2 DESC, 1
"""
_ORDERS = """
SELECT side || ' ' || purpose || ', ' || status, count(*)
  FROM orders WHERE account_id = $1 GROUP BY 1 ORDER BY 2 DESC, 1
"""
_TRADES = """
SELECT exit_purpose, count(*) || ' closed,', count(*) FILTER (WHERE realized_pnl > 0) || ' won,',
       'profit ' || sum(realized_pnl)
  FROM trades WHERE account_id = $1 GROUP BY 1 ORDER BY count(*) DESC, 1
"""
_BREAKERS = """
SELECT trigger || coalesce(' ' || symbol, ''), event, to_char(at, 'YYYY-MM-DD HH24:MI') || ' UTC'
  FROM circuit_breaker_events WHERE account_id = $1 ORDER BY at
"""
_MICRO = """
SELECT exit_purpose, count(*) || ' closed,', count(*) FILTER (WHERE realized_pnl > 0) || ' won,',
       'profit ' || sum(realized_pnl)
  FROM trades WHERE account_id = $1 AND is_micro GROUP BY 1 ORDER BY count(*) DESC, 1
"""
_TIERS = """
SELECT previous_tier || ' to ' || new_tier, source, to_char(at, 'YYYY-MM-DD HH24:MI') || ' UTC'
  FROM risk_tier_history WHERE account_id = $1 ORDER BY at
"""
_REBALANCES = """
SELECT symbol, 'sold ' || sum(quantity) || ' in', count(*) || ' orders'
  FROM orders WHERE account_id = $1 AND purpose = 'rebalance' GROUP BY 1 ORDER BY 1
"""
_TRANCHES = """
SELECT of_tranches || ' tranches', count(DISTINCT decision_id) || ' entries,', count(*) || ' orders sent'
  FROM orders WHERE account_id = $1 AND purpose = 'entry' AND of_tranches > 1 GROUP BY of_tranches ORDER BY 1
"""
_WASH_SALES = """
SELECT symbol, count(*) || ' lots,', 'disallowed ' || round(sum(disallowed_loss), 2)
  FROM tax_lots WHERE account_id = $1 AND status = 'washed' GROUP BY 1 ORDER BY 1
"""
_STOPS = """
SELECT reason, count(*) FROM position_stop_levels
 WHERE account_id = $1 AND reason NOT IN ('opened', 'tranche', 'closed') GROUP BY 1 ORDER BY 2 DESC, 1
"""
