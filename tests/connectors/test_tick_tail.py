"""The newest ticks of a symbol: read when asked for, bounded, and honest about what they no longer hold."""

from connectors import tick_tail
from connectors.tick_tail import TickTail
from tests.connectors.examples import tick
from trading.inputs import Tick


def read(key: bytes, value: bytes) -> tuple[Tick, ...]:
    return (tick(value.decode().strip()),)


def test_ticks_come_in_the_logs_order_and_by_symbol() -> None:
    tail = TickTail(read, begin=5)
    tail.add(5, b"AAPL", b"1")
    tail.add(6, b"KO", b"2")
    tail.add(7, b"AAPL", b"3")
    assert [(each.offset, f"{each.ticks[0].price}") for each in tail.ticks("AAPL")] == [(5, "1"), (7, "3")]
    assert tail.begin("AAPL") == tail.begin("NEVER SEEN") == 5


def test_only_what_is_asked_for_is_read() -> None:
    asked: list[bytes] = []

    def reading(key: bytes, value: bytes) -> tuple[Tick, ...]:
        asked.append(value)
        return read(key, value)

    tail = TickTail(reading, begin=0)
    for number in range(10):
        tail.add(number, b"AAPL" if number % 2 else b"KO", b"%d.5" % number)
    assert asked == []
    for _ in range(2):
        list(tail.ticks("KO"))
    assert asked == [b"0.5", b"2.5", b"4.5", b"6.5", b"8.5"]


def test_the_oldest_records_make_room_and_the_beginning_says_so() -> None:
    tail = TickTail(read, begin=0)
    for number in range(tick_tail.MOST_RECORDS + 10):
        tail.add(number, b"AAPL", b"1")
    assert tail.begin("AAPL") == 10
    assert len(list(tail.ticks("AAPL"))) == tick_tail.MOST_RECORDS


def test_large_records_make_room_sooner_but_the_newest_stays() -> None:
    tail = TickTail(read, begin=0)
    large = b"1" + b" " * tick_tail.MOST_BYTES
    tail.add(0, b"AAPL", large)
    tail.add(1, b"AAPL", large)
    assert [each.offset for each in tail.ticks("AAPL")] == [1]
    assert tail.begin("AAPL") == 1
