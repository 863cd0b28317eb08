"""The trading connector with the broker that the settings name, wired.

Everything is built when it begins, so that one that begins anew begins clean.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

from connectors.checks import Check
from connectors.journal import Journal
from connectors.kafka_prices import KafkaPrices
from connectors.simulated_book import Terms
from connectors.simulated_broker import SimulatedBroker
from connectors.supervision import together
from connectors.trading import TradingConnector
from streams.settings import Settings

JOURNAL = "simulated-broker.sqlite"


class SimulatedTrading:
    """Trade with the simulated broker; its journal lies in the data directory."""

    def __init__(self, settings: Settings, check: Check) -> None:
        self._settings = settings
        self._check = check
        self._connector: TradingConnector | None = None

    @property
    def positions(self) -> Mapping[str, Mapping[int, int]]:
        """Return how far `orders` and `order-cancels` have had their effect; empty until that is known."""
        return self._connector.positions if self._connector else {}

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
