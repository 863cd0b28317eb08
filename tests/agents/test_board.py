"""The board: what a price means to those who watch it, told at once, in its turn, and no more often than it says."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.board import Board
from tests.agents.world import at, levels, ticks
from tests.trading.desk import Desk
from trading.effects import StopLevels
from trading.events import Mark

STILL = Decimal(0)


def board(*watched: StopLevels) -> Board:
    return Board({"AAPL": watched})


def told(marks: list[Mark]) -> list[tuple[str, str]]:
    return [(mark.reason, str(mark.last)) for mark in marks]


def look(on: Board, *prices: str, begin: float = 0, moved: Decimal = STILL, wall: float | None = None) -> list[Mark]:
    return on.look(ticks(*prices, begin=begin), moved=lambda span: moved, wall=None if wall is None else at(wall))


def test_the_first_price_after_a_start_is_told_and_then_one_an_interval() -> None:
    on = board(levels())
    assert told(look(on, "100")) == [("interval", "100")]
    assert told(look(on, "101", begin=59)) == []
    assert told(look(on, "102", begin=60)) == [("interval", "102")]


def test_an_interval_mark_has_the_lowest_and_highest_since_the_last() -> None:
    on = board(levels())
    look(on, "100")
    look(on, "95", "110", "101", begin=10)
    (mark,) = look(on, "102", begin=61)
    assert (mark.last, mark.low, mark.high) == (Decimal(102), Decimal(95), Decimal(110))
    assert mark.price_at == at(61)


def test_a_price_at_the_stop_or_beyond_is_told_at_once() -> None:
    on = board(levels())
    look(on, "100")
    assert told(look(on, "90.01", "90", "89", begin=1)) == [("stop", "90")]


def test_a_price_at_the_target_or_beyond_is_told_at_once() -> None:
    on = board(levels())
    look(on, "100")
    assert told(look(on, "119.99", "121", begin=1)) == [("target", "121")]


def test_a_gap_through_several_levels_is_told_once_by_the_stop() -> None:
    on = board(levels("90", "120", ("broad_decline", "98"), ("position_loss", "85")))
    look(on, "100")
    assert told(look(on, "80", begin=1)) == [("stop", "80")]


def test_a_stop_that_was_told_is_not_told_again_below_it() -> None:
    on = board(levels())
    look(on, "100")
    look(on, "89", begin=1)
    assert told(look(on, "88", "91", "87", begin=2)) == []
    assert told(look(on, "86", begin=70)) == [("interval", "86")]
    assert told(look(on, "85", begin=71)) == []


def test_a_stop_is_armed_again_by_an_interval_mark_above_it() -> None:
    on = board(levels())
    look(on, "89")
    look(on, "95", begin=61)
    assert told(look(on, "89", begin=62)) == [("stop", "89")]


def test_a_revision_with_the_same_stop_does_not_tell_it_again_and_one_with_another_does() -> None:
    on = board(levels())
    look(on, "100")
    look(on, "89", begin=1)
    assert on.revise(levels(revision=2, set_at=1), ticks("89", begin=1)) == []
    assert told(on.revise(levels("89.5", revision=3, set_at=1), ticks("89", begin=1))) == [("stop", "89")]


def test_a_watch_level_is_told_from_either_side_once_between_interval_marks() -> None:
    on = board(levels(None, None, ("broad_decline", "98")))
    look(on, "100")
    assert told(look(on, "97", "99", "96", "99", begin=1)) == [("broad_decline", "97"), ("broad_decline", "99")]
    assert told(look(on, "97", begin=63)) == [("interval", "97")]
    assert told(look(on, "99", begin=64)) == [("broad_decline", "99")]


@pytest.mark.covers("R4.6", "R6.2")
def test_the_first_price_that_matters_to_an_account_is_told_and_not_the_limit_before_it() -> None:
    desk = Desk()
    desk.hold(atr="0.33")  # at 10: a stop at 10 - 0.66, a target at 10 + 0.99, half of the way is 10.495
    wanted = desk.levels("AAPL")
    assert isinstance(wanted, StopLevels)
    on = board(wanted.model_copy(update={"stop": None, "set_at": at(0)}))
    assert told(look(on, "10.00")) == [("interval", "10.00")]
    assert told(look(on, "10.49", "10.50", begin=1)) == [("breakeven", "10.50")]
    assert told(look(on, "9.80", begin=3)) == [("breakeven", "9.80")]
    assert told(look(on, "9.7999", begin=4)) == [("broad_decline", "9.7999")]  # more than 2 % under 10
    assert told(look(on, "8.50", "8.4999", begin=5)) == [("position_loss", "8.4999")]  # more than 15 %


def test_ticks_before_the_levels_were_set_are_not_compared() -> None:
    on = board(levels(set_at=10))
    assert told(look(on, "80", "100", begin=8)) == [("interval", "100")]
    assert told(look(on, "80", "100", begin=9)) == []
    assert told(look(on, "80", begin=10)) == [("stop", "80")]


def test_a_new_level_is_compared_at_once_with_a_price_that_is_not_older_than_it() -> None:
    on = board()
    assert told(on.revise(levels(set_at=5), ticks("89", begin=5))) == [("stop", "89")]
    on = board()
    assert on.revise(levels(set_at=5), ticks("89", begin=4)) == []


def test_a_new_watch_level_tells_the_newest_price_when_the_account_cannot_know_it() -> None:
    on = board()
    new = levels("90", "120", ("breakeven", "110"))
    assert told(on.revise(new, ticks("112"))) == [("level", "112")]
    assert on.revise(new, ticks("112")) == []
    assert told(look(on, "109", begin=1)) == [("breakeven", "109")]


@pytest.mark.covers("R7.3")
def test_a_fast_move_is_told_once_until_it_is_over() -> None:
    on = board(levels())
    look(on, "100")
    assert told(look(on, "105", begin=1, moved=Decimal("0.05"))) == []  # five percent are not more than five percent
    assert told(look(on, "106", begin=2, moved=Decimal("0.06"))) == [("fast_move", "106")]
    assert told(look(on, "107", begin=3, moved=Decimal("0.07"))) == []
    look(on, "105", begin=4, moved=Decimal("0.05"))
    assert told(look(on, "106", begin=5, moved=Decimal("0.06"))) == [("fast_move", "106")]


@pytest.mark.covers("R7.3")
def test_each_account_has_its_own_fast_move() -> None:
    calm = levels(account="calm").model_copy(update={"fast_move_pct": Decimal("0.08")})
    short = levels(account="short").model_copy(update={"fast_move_minutes": 5})
    on = board(levels(), calm, short)
    look(on, "100")
    moves = {15: Decimal("0.07"), 5: Decimal("0.01")}
    marks = on.look(ticks("107", begin=1), moved=lambda span: moves[int(span.total_seconds()) // 60], wall=None)
    assert [mark.account_id for mark in marks if mark.reason == "fast_move"] == ["paper"]
    marks = on.look(ticks("109", begin=2), moved=lambda span: Decimal("0.09"), wall=None)
    assert [mark.account_id for mark in marks if mark.reason == "fast_move"] == ["calm", "short"]


def test_a_quote_is_told_to_whoever_watches() -> None:
    on = board(levels())
    look(on, "100")
    (mark,) = on.look(ticks("101", begin=1, is_quote=True), moved=lambda span: STILL, wall=None)
    assert (mark.reason, mark.quoted, mark.last) == ("interval", True, Decimal(101))


def test_with_the_wall_clock_old_prices_tell_nothing_and_the_newest_is_compared_when_the_backlog_is_read() -> None:
    on = board(levels())
    assert look(on, "100", "80", begin=0, wall=62) == []
    assert look(on, "81", begin=1.5, wall=62) == []
    assert told(on.catch_up()) == [("stop", "81")]
    assert on.catch_up() == []


def test_a_fresh_price_makes_the_old_ones_irrelevant() -> None:
    on = board(levels())
    look(on, "80", begin=0, wall=100)
    assert told(look(on, "100", begin=99, wall=100)) == [("interval", "100")]
    assert on.catch_up() == []


def test_every_account_is_told_by_its_own_levels() -> None:
    on = board(levels("90"), levels("95", account="other"))
    look(on, "100")
    assert [(mark.account_id, mark.reason) for mark in look(on, "94", begin=1)] == [("other", "stop")]


def test_what_is_removed_or_watched_by_nobody_tells_nothing() -> None:
    on = board(levels())
    on.remove("AAPL", "paper")
    assert look(on, "80") == []
    assert on.look(ticks("1", symbol="MSFT"), moved=lambda span: STILL, wall=None) == []


def test_what_was_revoked_is_read_from_the_table_again() -> None:
    table = {"AAPL": (levels("90"),)}
    on = Board(table)
    look(on, "100")
    on.forget()
    table["AAPL"] = (levels("99"),)
    assert ("stop", "98") in told(look(on, "98", begin=1))


@given(
    st.lists(st.lists(st.integers(80, 130), min_size=1, max_size=8), min_size=1, max_size=8),
    st.integers(81, 100),
    st.integers(101, 129),
)
def test_a_level_is_told_exactly_when_a_price_reaches_it_however_the_ticks_are_batched(
    batches: list[list[int]], stop: int, target: int
) -> None:
    one = levels(str(stop), str(target)).model_copy(update={"interval_seconds": 10_000})
    together, apart = board(one), board(one)
    look(together, "101", begin=-1)
    look(apart, "101", begin=-1)
    second, in_batches, singly = 0, [], []
    for prices in batches:
        in_batches += told(look(together, *map(str, prices), begin=second))
        for price in prices:
            singly += told(look(apart, str(price), begin=second))
            second += 1
    flat = [price for prices in batches for price in prices]
    below, above = [price for price in flat if price <= stop], [price for price in flat if price >= target]
    assert in_batches == singly
    assert [("stop", str(price)) for price in below[:1]] == [mark for mark in singly if mark[0] == "stop"]
    assert [("target", str(price)) for price in above[:1]] == [mark for mark in singly if mark[0] == "target"]
