"""The stop check (R4.3, R7.3, R7.4, decision 52): levels follow what has materially changed, and never fall."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import cents
from tests.trading.desk import MONDAY, Desk, at, days, minutes
from trading import trading_window

D = Decimal
TUESDAY = MONDAY + days(1)
MINUTES = st.integers(0, 60 * 24 * 5)


def held(**changes: object) -> Desk:
    """Return a desk with 4 AAPL at 10 dollars, ATR 0.50: stop 9.00, target 11.50, at 15:00; no price goes stale."""
    desk = Desk(gradual_entry_tranches=1, stale_price_minutes=24 * 60, **changes)
    desk.hold(atr="0.5")
    return desk


def raises(desk: Desk, reason: str) -> list[tuple[str, D]]:
    """Return when and to where the stop went for a reason."""
    return [(f"{r.at:%H:%M}", r.stop_price) for r in desk.records("stop_level") if r.reason == reason]


@pytest.mark.covers("R4.3")
@pytest.mark.covers("R4.7")
@pytest.mark.covers("R18.3")
def test_an_atr_that_fell_by_more_than_a_tenth_raises_the_stop_at_the_next_check_and_leaves_the_target() -> None:
    desk = held()
    desk.bar("AAPL", "10", on=MONDAY - days(1), atr="0.44", at=at("15:02"))
    assert desk.row.positions[0].stop_price == 9
    desk.clock(at("15:04:59"))
    assert raises(desk, "re_evaluated") == []
    desk.clock(at("15:05"))
    assert raises(desk, "re_evaluated") == [("15:05", D("9.12"))]  # 10 - 2.0 x 0.44
    record = desk.records("stop_level")[-1]
    assert (record.target_price, record.entry_price) == (D("11.50"), 10)
    assert (record.atr, record.multiplier, record.signal_confidence) == (D("0.44"), D("2.0"), D("0.8"))
    assert record.revision == 2
    assert desk.row.positions[0].stop_price == D("9.12")
    desk.clock(at("16:00"))
    assert len(raises(desk, "re_evaluated")) == 1


@pytest.mark.covers("R4.3")
@pytest.mark.parametrize("atr", ["0.45", "0.55", "0.5"])
def test_an_atr_that_moved_by_a_tenth_at_most_is_no_material_change(atr: str) -> None:
    desk = held()
    desk.bar("AAPL", "10", on=MONDAY - days(1), atr=atr, at=at("15:02"))
    desk.clock(at("15:30"))
    assert raises(desk, "re_evaluated") == []


@pytest.mark.covers("R4.3")
def test_small_moves_of_atr_add_up_against_the_one_that_the_level_was_made_from() -> None:
    desk = held()
    for number, atr in enumerate(("0.47", "0.449")):  # each by less than a tenth of the one before
        desk.bar("AAPL", "10", on=MONDAY - days(2 - number), atr=atr)
        desk.clock(desk.now + minutes(5))
    assert raises(desk, "re_evaluated") == [("15:10", D("9.11"))]  # 10 - 2 x 0.449 = 9.102, rounded up


@pytest.mark.covers("R4.3")
def test_a_stop_stays_where_it_is_when_atr_rises() -> None:
    desk = held()
    desk.bar("AAPL", "10", on=MONDAY - days(1), atr="0.8")
    desk.clock(at("15:05"))
    assert raises(desk, "re_evaluated") == [("15:05", D("9.00"))]  # 10 - 2 x 0.8 = 8.40 is lower
    assert desk.row.positions[0].atr == D("0.8")


@pytest.mark.covers("R4.3")
def test_another_tier_makes_the_stop_anew_with_its_multiplier() -> None:
    desk = held()
    desk.command("set_risk_tier", risk_tier="conservative")
    desk.clock(at("15:05"))
    assert raises(desk, "re_evaluated") == [("15:05", D("9.25"))]  # 10 - 1.5 x 0.5
    assert desk.records("stop_level")[-1].multiplier == D("1.5")
    desk.command("set_risk_tier", risk_tier="aggressive")
    desk.clock(at("15:10"))
    assert raises(desk, "re_evaluated")[1:] == [("15:10", D("9.25"))]  # 10 - 2.5 x 0.5 = 8.75 is lower


@pytest.mark.covers("R4.3")
def test_a_newer_recommendation_changes_the_confidence_at_once_and_the_level_at_the_check() -> None:
    desk = held()
    desk.recommend(confidence="0.9", at=at("15:01"))
    assert desk.reason == "already_held"
    assert desk.row.positions[0].confidence == D("0.9")
    desk.clock(at("15:05"))
    assert raises(desk, "re_evaluated") == [("15:05", D("9.00"))]
    assert desk.records("stop_level")[-1].signal_confidence == D("0.9")
    desk.recommend(confidence="0.7", at=at("15:06"))
    desk.recommend(confidence="0.9", at=at("15:07"))  # and back: nothing has changed since the level was made
    desk.clock(at("15:30"))
    assert len(raises(desk, "re_evaluated")) == 1


@pytest.mark.covers("R4.3")
@pytest.mark.parametrize(
    "older",
    [
        {"confidence": "0.8"},
        {"confidence": "0.9", "generated_at": at("14:59")},
        {"confidence": "0.9", "mode": "informational"},
        {"confidence": "0.9", "action": "hold"},
        {"confidence": "0.9", "expires_at": at("15:01")},
    ],
)
def test_what_is_not_newer_or_no_signal_to_buy_changes_no_confidence(older: dict[str, object]) -> None:
    desk = held()
    desk.recommend(at=at("15:01"), **older)
    desk.clock(at("15:05"))
    assert desk.row.positions[0].confidence == D("0.8")
    assert raises(desk, "re_evaluated") == []


@pytest.mark.covers("R20.5")
def test_a_micro_position_keeps_the_micro_multiplier_whatever_the_tier() -> None:
    desk = held()
    micro = desk.row.positions[0].model_copy(update={"is_micro": True, "multiplier": D(1), "base_stop": D("9.50")})
    desk.portfolio = desk.row.model_copy(update={"positions": (micro,)})
    desk.command("set_risk_tier", risk_tier="conservative")
    desk.clock(at("15:05"))
    assert raises(desk, "re_evaluated") == []
    desk.bar("AAPL", "10", on=MONDAY - days(1), atr="0.4")
    desk.clock(at("15:10"))
    assert raises(desk, "re_evaluated") == [("15:10", D("9.60"))]  # 10 - 1.0 x 0.4


@pytest.mark.covers("R4.3")
def test_a_stop_that_is_made_anew_above_the_price_sells_at_once() -> None:
    desk = held()
    desk.mark("AAPL", "9.10", at=at("15:01"))
    desk.bar("AAPL", "9.10", on=MONDAY - days(1), atr="0.4")  # 10 - 2 x 0.4 = 9.20
    assert desk.orders("sell") == []
    desk.clock(at("15:05"))
    assert [(order.purpose, order.created_at) for order in desk.orders("sell")] == [("stop_loss", at("15:05"))]


@pytest.mark.covers("R4.3")
def test_the_check_follows_the_configured_interval_and_rests_outside_the_session() -> None:
    desk = held(stop_check_seconds=600)
    desk.bar("AAPL", "10", on=MONDAY - days(1), atr="0.44")
    desk.clock(at("15:09"))
    assert raises(desk, "re_evaluated") == []
    desk.clock(at("15:10"))
    assert raises(desk, "re_evaluated") == [("15:10", D("9.12"))]
    desk.clock(at("21:00"))
    desk.bar("AAPL", "10", on=MONDAY, atr="0.38")
    desk.clock(at("14:39", on=TUESDAY))
    assert len(raises(desk, "re_evaluated")) == 1
    desk.clock(at("14:40", on=TUESDAY))
    assert raises(desk, "re_evaluated")[1:] == [("14:40", D("9.24"))]  # 10 - 2 x 0.38


@pytest.mark.covers("R4.3")
def test_of_the_checks_of_a_gap_only_the_last_one_runs() -> None:
    desk = held()
    desk.bar("AAPL", "10", on=MONDAY - days(1), atr="0.44")
    desk.clock(at("15:07") + days(3))
    assert [r.at for r in desk.records("stop_level") if r.reason == "re_evaluated"] == [at("15:05") + days(3)]


@pytest.mark.covers("R7.4")
def test_while_an_event_is_active_the_check_runs_every_minute() -> None:
    desk = held()
    desk.clock(at("15:01"))
    desk.macro(seconds=180)  # until 15:04
    for clock, price in (("15:02:10", "10.10"), ("15:03:10", "10.20"), ("15:04:10", "10.30"), ("15:05:10", "10.40")):
        desk.mark("AAPL", price, at=at(clock))
    desk.clock(at("15:10"))
    # Price - 0.5 x 2.0 x 0.5: at once, then of the newest price at 15:02 and 15:03; at 15:04 it is over.
    assert raises(desk, "event") == [("15:01", D("9.50")), ("15:03", D("9.60"))]


@pytest.mark.covers("R7.4")
def test_the_fast_interval_is_configurable() -> None:
    desk = held(fast_stop_check_seconds=20)
    desk.macro()
    desk.mark("AAPL", "10.10", at=at("15:00:05"))
    desk.clock(at("15:00:20"))
    assert raises(desk, "event") == [("15:00", D("9.50")), ("15:00", D("9.60"))]


@pytest.mark.covers("R7.3")
def test_a_fast_move_has_its_position_looked_at_at_once() -> None:
    desk = held()
    desk.hold("KO", sector="staples", atr="0.5")
    for symbol in ("AAPL", "KO"):
        desk.bar(symbol, "10", on=MONDAY - days(1), atr="0.4", at=at("15:01"))
    desk.mark("AAPL", "9.49", at=at("15:01:30"))
    assert raises(desk, "re_evaluated") == []
    desk.mark("AAPL", "9.49", at=at("15:02"), reason="fast_move")
    record = desk.records("stop_level")[-1]
    assert (record.symbol, record.reason, record.stop_price) == ("AAPL", "re_evaluated", D("9.20"))
    assert len(raises(desk, "re_evaluated")) == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["price", "atr", "tier", "signal", "event", "heat", "earnings", "clock", "restart"]),
            cents("0.30", "0.80"),
            cents("9.00", "11.50"),
        ),
        min_size=1,
        max_size=12,
    )
)
@pytest.mark.covers("R4.3")
def test_a_stop_never_falls_whatever_happens_and_an_overlay_lies_below_the_price(
    drawn: list[tuple[str, Decimal, Decimal]],
) -> None:
    desk = held(moderate={"max_portfolio_heat": "0.01"})
    for number, (what, part, price) in enumerate(drawn, start=1):
        if (position := desk.row.position("AAPL")) is None or position.exit is not None:
            return
        before, records = position.stop_price, len(desk.records("stop_level"))
        desk.now += minutes(1)
        match what:
            case "price":
                desk.mark("AAPL", price, reason="fast_move" if number % 2 else "interval")
            case "atr":
                desk.bar("AAPL", "10", on=MONDAY - days(30 - number), atr=part)
            case "tier":
                desk.command("set_risk_tier", risk_tier=("conservative", "moderate", "aggressive")[number % 3])
            case "signal":
                desk.recommend(confidence=part)
            case "event":
                desk.macro(f"macro-{number}", severity="critical", seconds=120)
            case "heat":
                desk.configure(tiers={"moderate": {"max_portfolio_heat": str(part / 100)}})
            case "earnings":
                desk.earnings("AAPL", MONDAY + days(number % 5))
            case "clock":
                desk.clock(desk.now + minutes(5))
            case "restart":
                desk.restart()
        after = desk.row.positions[0]
        assert after.stop_price >= before
        assert after.exit is not None or after.last_price > after.stop_price
        for record in desk.records("stop_level")[records:]:
            assert record.atr > 0 < record.multiplier
            if record.reason in ("event", "earnings", "heat"):
                assert record.stop_price < record.last_price


@given(start=MINUTES, gaps=st.lists(MINUTES, min_size=1, max_size=6), seconds=st.integers(5, 3600))
def test_the_beats_of_a_session_are_whole_intervals_after_its_open(start: int, gaps: list[int], seconds: int) -> None:
    now, every = at("12:00") + minutes(start), dt.timedelta(seconds=seconds)
    for gap in gaps:
        now += minutes(gap)
        beat = trading_window.last_beat(now, every=every)
        assert beat is not None
        session = trading_window.session_at(beat)
        assert session is not None
        assert beat <= now
        assert (beat - session.open_at) % every == dt.timedelta()
        assert beat > session.open_at
        following = beat + every  # the next beat comes after now, unless the session has ended before it
        assert following > now or following >= session.close_at
