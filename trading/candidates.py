"""Candidates: a signal with the facts of its symbol, and the view of an account that its gates share."""

import datetime as dt
from decimal import Decimal
from typing import NamedTuple

from trading import earnings, micro_trading, position_sizer, stop_loss, trading_window
from trading.effects import SourceType
from trading.inputs import Action, EarningsSession
from trading.market import Closes
from trading.portfolio import Portfolio
from trading.position_sizer import Sized
from trading.stop_loss import Levels

LIFETIME = dt.timedelta(hours=24)  # of a recommendation that names no expiry


class Candidate(NamedTuple):
    """A signal with the facts of its symbol: what the gates look at."""

    source_type: SourceType
    source_id: str
    symbol: str
    action: Action
    mode: str
    confidence: Decimal
    generated_at: dt.datetime
    expires_at: dt.datetime
    known: bool
    sector: str | None
    price: Decimal | None
    price_at: dt.datetime | None
    atr: Decimal | None
    closes: Closes
    earnings_on: dt.date | None
    earnings_session: EarningsSession | None
    earnings_reported_at: dt.datetime | None
    superseded_by: str | None = None
    window_missed: str | None = None
    remaining: Decimal | None = None  # of an entry that is judged again before a later tranche

    @property
    def building(self) -> bool:
        """Tell whether this is a later tranche: already_held, expired and superseded do not apply."""
        return self.remaining is not None

    @property
    def is_micro(self) -> bool:
        """Tell whether a trend asks for it: a micro trade (R20)."""
        return self.source_type == "trend"


class View:
    """What several gates share, computed once."""

    def __init__(self, portfolio: Portfolio, candidate: Candidate) -> None:
        self.portfolio = portfolio
        self.candidate = candidate
        self.policy = portfolio.policy
        self.tier = portfolio.tier
        self.now = portfolio.now
        self.is_buy = candidate.action == "buy"
        self.position = portfolio.position(candidate.symbol)
        self.flag = earnings.flag(
            self.now,
            earnings_on=candidate.earnings_on,
            session=candidate.earnings_session,
            reported_at=candidate.earnings_reported_at,
            generated_at=candidate.generated_at,
            policy=self.policy,
        )
        self.stale_for = self._staleness()
        self.sized = self._sized()
        self.levels = self._levels()

    def _staleness(self) -> dt.timedelta | None:
        at = self.candidate.price_at
        return None if at is None else trading_window.session_time(at, until=self.now)

    def _has_price(self) -> bool:
        limit = dt.timedelta(minutes=self.policy.stale_price_minutes)
        return self.candidate.price is not None and self.stale_for is not None and self.stale_for <= limit

    def _sized(self) -> Sized | None:
        candidate = self.candidate
        if not self.is_buy or not self._has_price() or candidate.price is None or candidate.sector is None:
            return None
        if candidate.confidence < self.tier.min_confidence or self.portfolio.snapshot_at is None:
            return None
        return position_sizer.size_position(
            self.portfolio,
            confidence=candidate.confidence,
            price=candidate.price,
            sector=candidate.sector,
            closes=candidate.closes,
            earnings_flag=self.flag,
            is_micro=candidate.is_micro,
        )

    def _levels(self) -> Levels | None:
        candidate = self.candidate
        if self.sized is None or candidate.atr is None or candidate.price is None:
            return None
        terms = micro_trading.level_terms(self.portfolio, is_micro=candidate.is_micro)
        return stop_loss.initial_levels(candidate.price, atr=candidate.atr, **terms._asdict())


def is_eligible(mode: str, portfolio: Portfolio) -> bool:
    """Tell whether a signal of a mode may be acted on in the account's mode."""
    return mode in eligible_modes(portfolio)


def eligible_modes(portfolio: Portfolio) -> tuple[str, ...]:
    """Return the modes of a recommendation that may be acted on: in live mode the live ones alone."""
    return ("paper_eligible", "live_eligible") if portfolio.mode == "paper" else ("live_eligible",)
