"""`stonks replay`: the recorded log, folded again, gives what is recorded; with other code it says where not."""

import pathlib
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.integration import market
from tests.integration.harness import ROOT, Stack

pytestmark = pytest.mark.integration

ACCOUNTS = ("one", "two")
SUMMARY = re.compile(r"^records (\d+) decisions (\d+) orders (\d+) rows (\d+) differing (\d+)$", re.MULTILINE)
ROOMS = ("trading", "streams", "tables", "agents", "connectors", "api", "stack", "migrations")
SIPHON = ("trading/reserve_pool.py", "cents_down", "cents_up")
BREAKEVEN = ("trading/stop_loss.py", 'HALF = Decimal("0.5")', 'HALF = Decimal("0.4")')


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give a stack on which two accounts have bought, taken a profit, been stopped out, and waited."""
    day = next(market.sessions())

    def at(clock: str) -> str:
        return market.instant(day, clock)

    with Stack(accounts=ACCOUNTS) as stack:
        stack.start()
        prices = {"WIN": "40.00", "LOSE": "30.00", "TRIO": "10.00"}
        stack.produce("companies", [market.company(symbol, sector=f"sector {symbol}") for symbol in prices])
        for symbol, price in prices.items():
            stack.produce("price-bars", market.bars_before(symbol, day, price))
        stack.until_lag_zero()
        stack.produce("price-ticks", [market.tick(symbol, price, at("14:00")) for symbol, price in prices.items()])
        stack.until_lag_zero()
        for number, symbol in enumerate(prices, 1):
            stack.produce("recommendations", [market.recommendation(symbol, symbol, at(f"14:0{number}"))])
            stack.until_lag_zero()
        for clock, price in (("14:10", "41.50"), ("14:12", "41.53"), ("14:14", "43.02")):  # towards the target at 43.02
            stack.produce("price-ticks", [market.tick("WIN", price, at(clock))])
            stack.until_lag_zero()
        stack.produce("price-ticks", [market.tick("LOSE", "27.00", at("14:20"))])
        stack.until_lag_zero()
        yield stack


def counted(said: str) -> tuple[int, ...]:
    """Return the five numbers of the summary line."""
    found = SUMMARY.search(said)
    assert found, said
    return tuple(map(int, found.groups()))


def test_on_a_running_stack_the_replay_is_identical_and_changes_nothing(stack: Stack) -> None:
    before = {topic: len(stack.read(topic)) for topic in ("account-inbox", "orders", "decisions", "records")}
    ran = stack.run("replay", "--assert-identical")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    records, decisions, orders, rows, differing = counted(ran.stdout)
    assert records == before["account-inbox"]
    assert decisions == len(stack.bodies("decisions"))
    assert orders == len(stack.bodies("orders"))
    assert (rows > 0, differing) == (True, 0)
    assert {topic: len(stack.read(topic)) for topic in before} == before


def test_one_account_alone_and_from_an_offset_on(stack: Stack) -> None:
    whole = counted(stack.run("replay").stdout)
    each = [counted(stack.run("replay", "--assert-identical", "--account", account).stdout) for account in ACCOUNTS]
    assert tuple(map(sum, zip(*each, strict=True))) == whole
    nobody = stack.run("replay", "--assert-identical", "--account", "won")  # a slip that would prove nothing
    assert nobody.returncode == 2
    assert "nothing of an account won is recorded" in nobody.stderr.splitlines()[-1]
    last = max(message.offset for message in stack.read("account-inbox"))
    later = stack.run("replay", "--assert-identical", "--from", str(last // 2))
    assert later.returncode == 0, later.stdout + later.stderr
    assert 0 < counted(later.stdout)[0] < whole[0]


@pytest.mark.parametrize(("path", "old", "new"), [SIPHON, BREAKEVEN], ids=["siphon rounding", "breakeven"])
def test_with_a_rule_changed_by_hand_the_replay_exits_1_and_names_the_first_difference(
    stack: Stack, tmp_path: pathlib.Path, path: str, old: str, new: str
) -> None:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    changed = tmp_path / path
    text = changed.read_text()
    assert old in text
    changed.write_text(text.replace(old, new))
    ran = stack.run("replay", "--assert-identical", code=tmp_path)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert counted(ran.stdout)[4] > 0
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    named = re.search(r"\bof (\w+) at inbox offset (\d+)", last)
    assert named, last
    account, offset = named[1], int(named[2])
    if path == SIPHON[0]:  # 42.99 - 40.02 = 2.97, a fifth is 0.594: 0.59 or 0.60, at the fill of the sell
        [entry] = stack.bodies("records", account_id=account, kind="ledger_entry")
        assert offset == entry["cause"]
    else:  # 41.50 is beyond 0.4 of the distance, before 41.53 is beyond 0.5 of it
        levels = stack.bodies("records", account_id=account, kind="stop_level", symbol="WIN")
        opened, raised = [level["cause"] for level in levels if level["reason"] in ("opened", "breakeven")]
        assert opened < offset < raised

    told = stack.run("replay", code=tmp_path)  # without the assertion it only tells
    assert told.returncode == 0
    assert counted(told.stdout)[4] == counted(ran.stdout)[4]


def test_on_a_stopped_data_directory_the_replay_is_the_same_and_leaves_it_startable(stack: Stack) -> None:
    running = counted(stack.run("replay").stdout)
    assert stack.ask_to_stop() == 0
    (stack.data_dir / "ports.json").unlink()  # the mend of a port that another program has
    ran = stack.run("replay", "--assert-identical")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert counted(ran.stdout)[1:] == running[1:]
    stack.start()
    assert stack.until_lag_zero()["open_positions"] == 1


def test_without_a_stack_the_replay_says_what_to_do(tmp_path: pathlib.Path) -> None:
    with Stack() as nothing:
        ran = nothing.run("replay", "--assert-identical")
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith("error: ")
