"""Macro events (R7.1, R7.2, R7.4): every stop is tightened at once, for as long as the event lasts."""

from decimal import Decimal

import pytest

from tests.trading.desk import Desk, at, days
from trading.macro import MOST_EVENTS, MOST_SEEN

D = Decimal


def held(*symbols: str, **changes: object) -> Desk:
    """Return a desk with shares at 10 dollars, ATR 0.50, stop 9.00, of each symbol, at 15:00."""
    desk = Desk(gradual_entry_tranches=1, stale_price_minutes=24 * 60, **changes)
    for place, symbol in enumerate(symbols or ("AAPL",)):
        desk.hold(symbol, sector=("technology", "staples", "energy")[place], atr="0.5")
    return desk


def stops(desk: Desk) -> dict[str, Decimal]:
    return {position.symbol: position.stop_price for position in desk.row.positions}


@pytest.mark.covers("R7.1")
@pytest.mark.covers("R7.2")
@pytest.mark.parametrize("severity", ["high", "critical"])
def test_a_severe_event_tightens_all_stops_at_once_whatever_its_sectors(severity: str) -> None:
    desk = held("AAPL", "KO")
    desk.mark("KO", "10.40")
    desk.macro(severity=severity, sectors=["technology"])
    assert stops(desk) == {"AAPL": D("9.50"), "KO": D("9.90")}  # price - 0.5 x 2.0 x 0.5
    for record in desk.records("stop_level")[-2:]:
        assert (record.reason, record.at, record.target_price) == ("event", at("15:00"), D("11.50"))
        assert (record.atr, record.multiplier, record.factor) == (D("0.5"), D("2.0"), D("0.5"))
        assert record.stop_price == record.last_price - record.factor * record.multiplier * record.atr
    levels = desk.levels("AAPL")
    assert getattr(levels, "stop", None) == D("9.50")


@pytest.mark.covers("R7.2")
def test_the_factor_is_configurable() -> None:
    desk = held(event_stop_factor="0.25")
    desk.macro()
    assert stops(desk) == {"AAPL": D("9.75")}


@pytest.mark.covers("R7.1")
@pytest.mark.parametrize(
    "event",
    [
        {"severity": "moderate"},
        {"severity": "low"},
        {"started_at": at("14:00"), "seconds": 3600},  # over at 15:00
        {"seconds": 0},
    ],
)
def test_an_event_of_less_weight_or_one_that_is_over_changes_nothing(event: dict[str, object]) -> None:
    desk = held()
    before = desk.row
    assert desk.macro(**event) == []  # type: ignore[arg-type]
    assert desk.row.model_copy(update={"seq": before.seq}) == before


@pytest.mark.covers("R7.2")
def test_an_event_that_began_before_lasts_for_what_is_left_of_it() -> None:
    desk = held()
    desk.macro(started_at=at("14:30"), seconds=2400)  # until 15:10
    desk.mark("AAPL", "10.30", at=at("15:09:30"))
    desk.clock(at("15:10"))
    assert stops(desk) == {"AAPL": D("9.50")}
    desk.clock(at("15:30"))
    assert desk.row.macro_events == ()


@pytest.mark.covers("R7.1")
def test_an_event_that_is_announced_begins_at_its_own_instant() -> None:
    desk = held()
    desk.macro(started_at=at("15:07:20"), seconds=600)
    desk.clock(at("15:07:19"))
    assert stops(desk) == {"AAPL": D("9.00")}
    desk.clock(at("15:40"))
    assert stops(desk) == {"AAPL": D("9.50")}
    assert [r.at for r in desk.records("stop_level") if r.reason == "event"] == [at("15:07:20")]


@pytest.mark.covers("R7.1")
def test_a_repeated_event_does_nothing_and_one_that_grew_severe_counts() -> None:
    desk = held()
    desk.macro(severity="moderate")
    desk.macro(seconds=60)
    assert stops(desk) == {"AAPL": D("9.50")}
    desk.mark("AAPL", "10.30", at=at("15:00:30"))
    assert desk.macro(seconds=60) == []
    desk.clock(at("15:05"))
    desk.mark("AAPL", "10.40", at=at("15:05:10"))
    assert desk.macro(seconds=3600) == []  # also when it has ended
    assert stops(desk) == {"AAPL": D("9.50")}


@pytest.mark.covers("R7.2")
def test_the_tightened_stop_stays_when_the_event_is_over() -> None:
    desk = held()
    desk.macro(seconds=120)
    desk.clock(at("16:00"))
    assert stops(desk) == {"AAPL": D("9.50")}
    desk.mark("AAPL", "9.50", at=at("16:01"))
    assert [order.purpose for order in desk.orders("sell")] == ["event"]


@pytest.mark.covers("R7.2")
def test_exits_by_an_event_count_towards_no_stop_cluster() -> None:
    desk = held("AAPL", "KO", stop_cluster_count=1)
    desk.macro()
    for symbol in ("AAPL", "KO"):
        desk.mark(symbol, "9.40")
    assert [order.purpose for order in desk.orders("sell")] == ["event", "event"]
    assert desk.row.stops_hit == ()
    assert desk.row.breakers == ()


@pytest.mark.covers("R7.2")
def test_a_price_under_the_base_stop_too_is_a_stop_loss() -> None:
    desk = held()
    desk.macro()
    desk.mark("AAPL", "9.00")
    assert [order.purpose for order in desk.orders("sell")] == ["stop_loss"]


@pytest.mark.covers("R7.2")
def test_a_position_opened_while_the_event_is_active_is_tightened_at_the_next_fast_check() -> None:
    desk = held()
    desk.clock(at("15:00:30"))
    desk.macro()
    desk.hold("KO", sector="staples", atr="0.5")
    assert stops(desk)["KO"] == D("9.00")
    desk.clock(at("15:01"))
    assert stops(desk)["KO"] == D("9.50")


@pytest.mark.covers("R7.1")
def test_an_event_in_the_night_tightens_on_the_last_price() -> None:
    desk = held()
    desk.clock(at("23:00"))
    desk.macro()
    assert stops(desk) == {"AAPL": D("9.50")}
    assert desk.orders("sell") == []


@pytest.mark.covers("R7.2")
def test_an_event_judges_what_a_stop_has_missed() -> None:
    desk = held()
    low = desk.row.positions[0].model_copy(update={"last_price": D("8.95")})
    desk.portfolio = desk.row.model_copy(update={"positions": (low,)})
    desk.macro()
    assert [order.purpose for order in desk.orders("sell")] == ["stop_loss"]


def test_the_row_keeps_a_bounded_number_of_events_those_that_end_last() -> None:
    desk = held()
    for number in range(MOST_SEEN + 20):
        desk.macro(f"m{number}", started_at=at("16:00"), seconds=3600 + number)
    assert len(desk.row.macro_events) == MOST_EVENTS
    assert desk.row.macro_events[-1].event_id == f"m{MOST_SEEN + 19}"
    assert sum(len(bucket.ids) for bucket in desk.row.macro_seen) == MOST_SEEN * 10
    desk.restart()
    desk.clock(at("16:00") + days(1))
    assert desk.row.macro_events == ()
