"""What depends on time alone ("Clock" of `contracts.md`): each thing at its own instant, the loop tick once a gap."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import instants
from tests.trading.desk import ACCOUNT, MONDAY, Desk, at, days, minutes
from trading.events import AccountOpened, Clock
from trading.policy import TradingPolicy
from trading.portfolio import NEVER

D = Decimal


@pytest.mark.covers("R1.1")
@pytest.mark.covers("R13.4")
def test_the_loop_tick_measures_heat_every_sixty_seconds() -> None:
    desk = Desk()
    for second in range(0, 181, 20):
        desk.clock(at("15:00") + dt.timedelta(seconds=second))
    assert [record.at for record in desk.records("portfolio_heat")] == [at("15:01"), at("15:02"), at("15:03")]
    record = desk.records("portfolio_heat")[0]
    assert (record.heat, record.max_heat, record.active_pool) == (0, 100, 500)


def test_the_tick_follows_the_configured_interval() -> None:
    desk = Desk(polling_interval_seconds=30)
    desk.clock(at("15:00:30"))
    assert len(desk.records("portfolio_heat")) == 1


def test_a_gap_has_one_tick_at_its_last_due_instant() -> None:
    desk = Desk()
    desk.clock(at("15:10:59"))
    assert [record.at for record in desk.records("portfolio_heat")] == [at("15:10")]


def test_now_never_goes_back_and_an_earlier_instant_is_applied_at_now() -> None:
    desk = Desk()
    desk.clock(at("16:00"))
    desk.recommend(at=at("15:30"))
    assert desk.row.now == at("16:00")
    assert desk.decisions[-1].decided_at == at("16:00")


def test_a_record_without_an_instant_happens_at_now() -> None:
    desk = Desk()
    desk.send(Clock(account_id=ACCOUNT))
    assert desk.row.now == at("15:00")


def test_before_the_first_instant_nothing_is_due() -> None:
    desk = Desk(cash=None)
    desk.portfolio, desk.seq = None, -1
    desk.send(AccountOpened(account_id=ACCOUNT, policy=TradingPolicy(), mode="paper", build="test"))
    assert desk.row.now == NEVER
    body = {"cash": "500", "at": None}
    desk.snapshot(**body)
    assert desk.row.schedule is None
    desk.clock(at("15:00"))
    assert desk.row.schedule is not None
    assert desk.row.schedule.tick_at == at("15:01")


def test_what_fell_due_in_a_jump_fires_in_the_order_of_its_instants() -> None:
    desk = Desk()
    desk.stress("40", at=at("15:00"))  # a breaker until 17:00
    desk.recommend("KO", at=at("22:00"), sector="staples", expires_at=at("23:00"))
    desk.recommend("JPM", at=at("22:00"), sector="financials")
    effects = desk.clock(at("22:00") + days(3))
    decided = [(each.symbol, each.skip_reason, each.decided_at) for each in desk.decisions]
    assert decided == [
        ("KO", "expired", at("23:00")),
        ("JPM", "outside_trading_window", at("21:00", on=MONDAY + days(1))),
    ]
    instants = [each.at for each in effects if hasattr(each, "cause")]
    assert instants == sorted(instants)
    assert desk.records("breaker_event")[-1].at == at("17:00")
    assert len(desk.records("portfolio_heat", effects)) == 1


def test_the_days_base_is_the_close_also_without_a_margin() -> None:
    desk = Desk(window_margin_minutes=0)
    desk.hold()
    desk.mark("AAPL", "10.50", at=at("20:59"))
    desk.clock(at("21:00"))
    assert desk.row.day_base == 502
    desk.recommend("KO", at=at("13:00") + days(1), sector="staples")
    desk.mark("KO", "10", at=at("14:30") + days(1))
    assert desk.decisions[-1].symbol == "KO"


def test_a_margin_that_was_changed_moves_todays_window() -> None:
    desk = Desk(now=at("14:00"))
    desk.recommend()
    desk.configure(window_margin_minutes=30)
    desk.mark("AAPL", "10", at=at("14:59"))
    assert desk.decisions == []
    desk.clock(at("15:00"))
    assert desk.decisions[0].decided_at == at("15:00")


def test_derived_effects_of_one_record_have_ids_of_their_own() -> None:
    desk = Desk()
    desk.stress("40")
    effects = desk.clock(at("15:00") + days(30))
    ids = [each.record_id for each in effects if hasattr(each, "record_id")]
    assert len(ids) == len(set(ids))


def test_the_end_of_the_calendar_is_survived() -> None:
    desk = Desk(now=dt.datetime(2099, 12, 31, 23, 0, tzinfo=dt.UTC))
    desk.recommend(expires_at=None)
    desk.recommend("KO", "sell", sector="staples")
    desk.stress("99")
    desk.clock(dt.datetime(2099, 12, 31, 23, 59, 59, tzinfo=dt.UTC))
    assert desk.row.queue != () or desk.decisions != []


def test_a_jump_over_years_is_folded_in_reasonable_time() -> None:
    desk = Desk()
    desk.hold()
    desk.clock(dt.datetime(2036, 1, 1, tzinfo=dt.UTC))
    assert len(desk.records("portfolio_heat")) < 60


@given(
    instants(dt.date(2025, 1, 1), dt.date(2027, 1, 1)), st.lists(st.integers(1, 60 * 24 * 4), min_size=1, max_size=6)
)
def test_a_gap_in_one_jump_or_in_many_ends_in_the_same_account(start: dt.datetime, gaps: list[int]) -> None:
    start = start.replace(second=0, microsecond=0)
    rows = []
    for stops in (True, False):
        desk = Desk(now=start)
        desk.stress("40")
        desk.recommend()
        now = start
        for gap in gaps:
            now += minutes(gap)
            if stops:
                desk.clock(now)
        desk.clock(now)
        rows.append(desk.row.model_copy(update={"seq": 0, "schedule": None}))
    assert rows[0] == rows[1]
