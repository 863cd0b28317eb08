"""What must hold after any faults, counted from outside: topics, tables, and the simulated broker's own journal.

Each figure is printed by the name that `reliability.md` gives it.
"""

import collections
import json
import sqlite3
from decimal import ROUND_DOWN, Decimal

from tests.integration.harness import Json, Stack

CENT = Decimal("0.01")
SIPHON = Decimal("0.20")


def figures_of_a_running_stack(stack: Stack, ids: list[str]) -> dict[str, Decimal]:
    """Count on the topics and in the tables; the stack must have applied and projected everything."""
    wanted = {(account, recommendation) for account in stack.accounts for recommendation in ids}
    decisions = stack.bodies("decisions", source_type="recommendation")
    decided = collections.Counter((each["account_id"], each["source_id"]) for each in decisions)
    orders = stack.bodies("orders")
    return {
        "decisions_lost": Decimal(len(wanted - decided.keys())),
        "decisions_duplicated": Decimal(sum(count - 1 for count in decided.values())),
        "decisions_not_in_tables": Decimal(len(wanted ^ _decided_in_tables(stack))),
        "child_quantity_over_parent": _over_parent(stack.bodies("decisions"), orders),
        "orders_not_in_tables": Decimal(len(orders) - stack.sql("SELECT count(*) AS n FROM orders")[0]["n"]),
        "ledger_imbalance": _ledger_imbalance(stack),
        "siphon_imbalance": _siphon_imbalance(stack),
        "lots_minus_positions": _lots_minus_positions(stack),
        "live_orders_left": Decimal(sum(len(state["orders"]) for state in states(stack).values())),
    }


def figures_of_a_stopped_stack(stack: Stack, rows: dict[str, Json], orders: list[Json]) -> dict[str, Decimal]:
    """Compare with the journal of the simulated broker, which is the oracle for what was traded."""
    path = stack.data_dir / "simulated-broker.sqlite"
    with sqlite3.connect(path) as journal:
        events = [json.loads(value) for (value,) in journal.execute("SELECT value FROM outbox ORDER BY id")]
        books = {account: json.loads(book) for account, book in journal.execute("SELECT account_id, book FROM books")}
    filled: dict[str, Decimal] = collections.defaultdict(Decimal)
    taken: collections.Counter[str] = collections.Counter()
    for event in events:
        if event["kind"] == "order_fill":
            filled[event["client_order_id"]] += Decimal(event["quantity"])
        if event["kind"] in ("order_accepted", "order_rejected"):
            taken[event["client_order_id"]] += 1
    asked = {order["client_order_id"]: Decimal(order["quantity"]) for order in orders}
    apart = Decimal(0)
    for account, row in rows.items():
        held = {each["symbol"]: Decimal(each["quantity"]) for each in row["positions"]}
        theirs = {each["symbol"]: Decimal(each["quantity"]) for each in books[account]["holdings"]}
        apart += abs(Decimal(row["cash"]) - Decimal(books[account]["cash"]))
        apart += sum((abs(held.get(each, 0) - theirs.get(each, 0)) for each in held.keys() | theirs.keys()), Decimal(0))
    return {
        "orders_submitted_twice": Decimal(sum(filled[order] > quantity for order, quantity in asked.items())),
        "orphan_orders": Decimal(len((taken.keys() | filled.keys()) - asked.keys())),
        "orders_never_taken": Decimal(len(asked.keys() - taken.keys() - filled.keys())),
        "cash_and_positions_minus_broker": apart,
    }


def states(stack: Stack) -> dict[str, Json]:
    """Return each account's row as it was last projected."""
    return {
        row["account_id"]: json.loads(row["state"]) for row in stack.sql("SELECT account_id, state FROM account_states")
    }


def _decided_in_tables(stack: Stack) -> set[tuple[str, str]]:
    rows = stack.sql("SELECT account_id, source_id FROM trading_decisions WHERE source_type = 'recommendation'")
    return {(row["account_id"], row["source_id"]) for row in rows}


def _over_parent(decisions: list[Json], orders: list[Json]) -> Decimal:
    """Return by how many shares the tranches of entries exceed their decisions, and the entries without one."""
    parents = {decision["decision_id"]: Decimal(decision["quantity"]) for decision in decisions}
    children: dict[str, Decimal] = collections.defaultdict(Decimal)
    for order in orders:
        if order["purpose"] == "entry":
            children[order["decision_id"]] += Decimal(order["quantity"])
    return sum((max(Decimal(0), sold - parents.get(key, Decimal(0))) for key, sold in children.items()), Decimal(0))


def _ledger_imbalance(stack: Stack) -> Decimal:
    """Return how far the ledger is from a gapless sum that ends at the row's reserve."""
    apart = Decimal(0)
    for account, state in states(stack).items():
        entries = stack.sql(
            "SELECT seq, amount, balance_after FROM reserve_pool_ledger WHERE account_id = $1 ORDER BY seq", account
        )
        balance = Decimal(0)
        for number, entry in enumerate(entries, start=1):
            balance += entry["amount"]
            apart += abs(entry["seq"] - number) + abs(entry["balance_after"] - balance)
        apart += abs(balance - Decimal(state["reserve"]))
    return apart


def _siphon_imbalance(stack: Stack) -> Decimal:
    """Return by how much the siphoned dollars of single-fill trades differ from 20 % of their profit, rounded down."""
    trades = stack.sql(
        "SELECT t.trade_id, t.realized_pnl, coalesce(sum(l.amount), 0) AS siphoned FROM trades t "
        "LEFT JOIN reserve_pool_ledger l ON l.trade_id = t.trade_id "
        "WHERE (SELECT count(*) FROM fills f WHERE f.client_order_id = t.client_order_id) = 1 "
        "GROUP BY t.trade_id, t.realized_pnl"
    )
    apart = Decimal(0)
    for trade in trades:
        due = (max(Decimal(0), trade["realized_pnl"]) * SIPHON).quantize(CENT, rounding=ROUND_DOWN)
        apart += abs(trade["siphoned"] - due)
    return apart


def _lots_minus_positions(stack: Stack) -> Decimal:
    rows = stack.sql(
        "SELECT coalesce(l.quantity, 0) - coalesce(p.quantity, 0) AS apart FROM "
        "(SELECT account_id, symbol, sum(open_quantity) AS quantity FROM tax_lots GROUP BY 1, 2) l "
        "FULL JOIN positions p USING (account_id, symbol)"
    )
    return sum((abs(row["apart"]) for row in rows), Decimal(0))
