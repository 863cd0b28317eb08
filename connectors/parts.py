"""The trading connector with the broker that the settings name, wired.

Everything is built when it begins, so that one that begins anew begins clean.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

from connectors import alpaca_keys
from connectors.alpaca_broker import AlpacaBroker
from connectors.alpaca_rest import AlpacaRest
from connectors.checks import Check
from connectors.journal import Journal
from connectors.kafka_prices import KafkaPrices
from connectors.simulated_book import Terms
from connectors.simulated_broker import SimulatedBroker
from connectors.supervision import together
from connectors.trading import TradingConnector
from streams.settings import Settings

JOURNAL, ALPACA_JOURNAL = "simulated-broker.sqlite", "alpaca-broker.sqlite"


class Trading(Protocol):
    """A trading connector that begins anew each time it is run; `checks` are those beside its own."""

    checks: tuple[Check, ...]

    @property
    def positions(self) -> Mapping[str, Mapping[int, int]]:
        """Return how far `orders` and `order-cancels` have had their effect; empty until that is known."""

    async def run(self) -> None:
        """Trade until cancelled or until something fails."""


def trading_of(settings: Settings, check: Check) -> Trading:
    """Return the trading connector that the settings name."""
    return AlpacaTrading(settings, check) if settings.broker.endswith("alpaca") else SimulatedTrading(settings, check)


class _Trading:
    checks: tuple[Check, ...] = ()

    def __init__(self, settings: Settings, check: Check) -> None:
        self._settings = settings
        self._check = check
        self._connector: TradingConnector | None = None

    @property
    def positions(self) -> Mapping[str, Mapping[int, int]]:
        """Return how far `orders` and `order-cancels` have had their effect; empty until that is known."""
        return self._connector.positions if self._connector else {}


class AlpacaTrading(_Trading):
    """Trade with Alpaca, real or fake; its journal lies in the data directory."""

    def __init__(self, settings: Settings, check: Check) -> None:
        super().__init__(settings, check)
        self.checks = (Check("alpaca", required=True), Check("trade_updates", required=False))

    async def run(self) -> None:
        """Trade until cancelled or until something fails."""
        settings = self._settings
        journal = Journal(settings.data_dir / ALPACA_JOURNAL)
        try:
            broker = AlpacaBroker(
                AlpacaRest(
                    key_id=settings.alpaca_key_id,
                    secret_key=settings.alpaca_secret_key,
                    url=alpaca_keys.trading_url(settings),
                    paper=settings.mode == "paper",
                ),
                journal,
                account_id=settings.accounts[0],
                mode=settings.mode,
                now=_wall_clock if settings.clock == "system" else _no_clock,
                check=self.checks[0],
                updates_check=self.checks[1],
                backstop_pct=settings.backstop_pct if settings.backstop == "stop" else None,
            )
            self._connector = TradingConnector(broker, journal, settings, check=self._check)
            await together(broker.run(), self._connector.run())
        finally:
            journal.close()


class SimulatedTrading(_Trading):
    """Trade with the simulated broker; its journal lies in the data directory."""

    async def run(self) -> None:
        """Trade until cancelled or until something fails."""
        settings = self._settings
        terms = Terms(
            slippage_bps=settings.sim_slippage_bps,
            partial_pct=settings.sim_partial_pct,
            reject_pct=settings.sim_reject_pct,
            seed=settings.sim_seed,
        )
        journal = Journal(settings.data_dir / JOURNAL)
        try:
            prices = KafkaPrices(settings)
            now = _wall_clock if settings.clock == "system" else _no_clock
            broker = SimulatedBroker(journal, prices, terms, now=now)
            for account_id in settings.accounts:
                broker.open(account_id, cash=Decimal(settings.sim_cash))
            self._connector = TradingConnector(broker, journal, settings, check=self._check)
            await together(prices.follow(), self._connector.run())
        finally:
            journal.close()


def _wall_clock() -> dt.datetime | None:
    return dt.datetime.now(dt.UTC)


def _no_clock() -> dt.datetime | None:
    """Know no time: what is written without an instant happens at the engine's now."""
    return None
