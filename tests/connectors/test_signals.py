"""Signals: the sample producer's arithmetic, and a file's lines to a topic, refused one by one."""

import datetime as dt
import io
import itertools
import json
import math
import pathlib
import statistics
from decimal import Decimal

import pytest

from connectors.samples import intraday, momentum
from connectors.signals import produce
from streams.topics import partition_for
from tests.connectors.examples import NOON
from tests.connectors.running import settings_of, topics_of


def closes(*returns: float) -> list[Decimal]:
    """Return closes that make these daily returns, from 100 dollars."""
    price, made = 100.0, [Decimal(100)]
    for each in returns:
        price *= 1 + each
        made.append(Decimal(f"{price:.6f}"))
    return made


def test_fewer_than_sixty_one_closes_recommend_nothing() -> None:
    assert momentum("AAPL", closes(*[0.01, -0.01] * 29, 0.01), generated_at=NOON) is None
    assert momentum("AAPL", closes(*[0.01, -0.01] * 30), generated_at=NOON) is not None


def test_closes_that_never_move_recommend_nothing() -> None:
    assert momentum("AAPL", [Decimal(100)] * 61, generated_at=NOON) is None


@pytest.mark.parametrize(
    ("recent", "action"), [(0.004, "buy"), (-0.004, "sell"), (0.0, "hold")], ids=["rising", "falling", "level"]
)
def test_the_last_month_against_the_last_quarter_decides(recent: float, action: str) -> None:
    """Forty days of +-1 %, then twenty of +-1 % around `recent`; worked out again with the standard library."""
    made = closes(*[0.01, -0.01] * 20, *[recent + 0.01, recent - 0.01] * 10)
    signal = momentum("AAPL", made, generated_at=NOON)
    assert signal is not None
    returns = [float(after) / float(before) - 1 for before, after in itertools.pairwise(made)]
    z = (statistics.mean(returns[-20:]) - statistics.mean(returns)) * math.sqrt(20) / statistics.stdev(returns)
    assert signal.action == action
    assert signal.confidence == pytest.approx(Decimal(statistics.NormalDist().cdf(abs(z))), abs=Decimal("0.000001"))
    assert signal.reference_price == made[-1]


def test_only_the_last_sixty_returns_count_and_the_same_closes_give_the_same_id() -> None:
    made = closes(*[0.01, -0.02, 0.015] * 20)
    first, second = (momentum("AAPL", history, generated_at=NOON) for history in (made, [Decimal(1), *made]))
    assert first == second
    tomorrow = momentum("AAPL", made, generated_at=NOON + dt.timedelta(days=1))
    assert first is not None
    assert tomorrow is not None
    assert first.recommendation_id != tomorrow.recommendation_id


@pytest.mark.parametrize(
    ("moved", "direction"), [(0.006, "bullish"), (-0.006, "bearish"), (0.001, "neutral")], ids=["up", "down", "level"]
)
def test_a_session_that_moved_by_half_a_daily_deviation_has_a_trend(moved: float, direction: str) -> None:
    """Returns of +-1 % have a standard deviation of about 1 %: 0.6 % is z = 0.6, and P(Z <= 0.6) is 0.7257."""
    made = closes(*[0.01, -0.01] * 30)
    price = Decimal(f"{float(made[-1]) * (1 + moved):.6f}")
    trend = intraday("AAPL", closes=made, price=price, at=NOON)
    assert trend is not None
    spread = statistics.stdev(float(after) / float(before) - 1 for before, after in itertools.pairwise(made))
    assert trend.direction == direction
    assert float(trend.confidence) == pytest.approx(statistics.NormalDist().cdf(abs(moved) / spread), abs=1e-6)
    assert intraday("AAPL", closes=made[1:], price=price, at=NOON) is None
    assert intraday("AAPL", closes=[Decimal(100)] * 61, price=price, at=NOON) is None


GOOD = {"symbol": "AAPL", "price": "187.10", "at": "2024-03-14T16:00:00Z"}


@pytest.mark.integration
async def test_good_lines_are_sent_in_order_under_their_key_and_bad_ones_named(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(kafka, topic_prefix, tmp_path)
    lines = [
        json.dumps(GOOD),
        "",
        "not json",
        json.dumps({**GOOD, "price": "-1"}),
        json.dumps({**GOOD, "at": "2024-03-14T16:00:00"}),
        json.dumps({"price": "1", "at": GOOD["at"]}),
        json.dumps({**GOOD, "symbol": "aapl"}),
        "null",
        "[" * 100_000,
        json.dumps({**GOOD, "price": 188.5, "unknown": "is ignored"}),
        json.dumps({**GOOD, "symbol": "KO"}),
    ]
    async with topics_of(settings) as topics:
        code = produce(io.BytesIO("\n".join(lines).encode()), "price-ticks", kafka, settings)
        found = await topics.read("price-ticks")
    assert code == 1
    assert [each["price"] for each in found if each["symbol"] == "AAPL"] == ["187.10", 188.5]
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in said if line.startswith("line ")] == [
        ["line 3", "unreadable"],
        ["line 4", "invalid_field"],
        ["line 5", "invalid_field"],
        ["line 6", "missing_field"],
        ["line 7", "invalid_field"],
        ["line 8", "unreadable"],
        ["line 9", "unreadable"],
    ]
    assert said[-1] == "error: 7 lines were refused"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("topic", "line", "key"),
    [
        ("market-stress", {"name": "vix", "value": 17.2, "at": GOOD["at"]}, "market"),
        ("companies", {"symbol": "AAPL", "name": "Apple", "sector": "technology"}, "AAPL"),
        ("commands", {"kind": "pause", "command_id": "c", "issued_by": "me"}, "paper"),
        (
            "macro-events",
            {
                "event_id": "e-1",
                "severity": "high",
                "headline": "h",
                "started_at": GOOD["at"],
                "estimated_duration_seconds": 60,
            },
            "e-1",
        ),
    ],
)
async def test_every_kind_of_key_is_found_and_lies_where_java_would_put_it(
    *, kafka: str, topic_prefix: str, tmp_path: pathlib.Path, topic: str, line: dict[str, object], key: str
) -> None:
    settings = settings_of(kafka, topic_prefix, tmp_path)
    async with topics_of(settings) as topics:
        assert produce([json.dumps(line).encode()], topic, kafka, settings) == 0
        ((place, found),) = await topics.places(topic)
    assert found == key.encode()
    assert place == partition_for(key.encode(), 1 if topic == "market-stress" else settings.partitions)


@pytest.mark.integration
async def test_by_the_systems_clock_a_line_from_the_future_is_refused(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path
) -> None:
    settings = settings_of(kafka, topic_prefix, tmp_path, clock="system")
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10)
    async with topics_of(settings):
        assert produce([json.dumps({**GOOD, "at": soon.isoformat()}).encode()], "price-ticks", kafka, settings) == 1
        assert produce([json.dumps(GOOD).encode()], "price-ticks", kafka, settings) == 0


@pytest.mark.integration
def test_a_topic_that_is_not_there_is_named_with_the_mend(
    kafka: str, topic_prefix: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(kafka, topic_prefix, tmp_path)
    assert produce([b"{}"], "companies", kafka, settings) == 2
    assert "create it with `stonks topics create`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("topic", "reason"),
    [("orders", "orders is no input topic"), ("companies", "does not answer")],
)
def test_what_cannot_run_says_why(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], topic: str, reason: str
) -> None:
    settings = settings_of("127.0.0.1:1", "", tmp_path)
    assert produce([b"{}"], topic, "127.0.0.1:1", settings) == 2
    assert reason in capsys.readouterr().err.splitlines()[-1]
