"""What the fake remembers over a restart of its process: orders, fills, amounts, prices and the log, in SQLite."""

import dataclasses
import datetime as dt
import json
import os
import pathlib
import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter

from tests.fakes.alpaca.book import Fill, Position, State, restored
from tests.fakes.alpaca.orders import Order
from tests.fakes.alpaca.wire import Json, dumped

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, place INTEGER NOT NULL, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fills (id TEXT PRIMARY KEY, place INTEGER NOT NULL, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_ORDER = TypeAdapter(Order)
_FILL = TypeAdapter(Fill)
_POSITIONS = TypeAdapter(dict[str, Position])


class Store:
    """Keep one account's state in a file that its owner alone may read."""

    def __init__(self, path: pathlib.Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._last: State | None = None

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def state(self) -> State | None:
        """Return what was kept, None from a new file."""
        cash, positions = self._kept("cash"), self._kept("positions")
        if cash is None or positions is None:
            return None
        orders = self._db.execute("SELECT value FROM orders ORDER BY place")
        fills = self._db.execute("SELECT value FROM fills ORDER BY place")
        self._last = restored(
            Decimal(cash),
            _POSITIONS.validate_json(positions),
            [_ORDER.validate_json(value) for (value,) in orders],
            [_FILL.validate_json(value) for (value,) in fills],
        )
        return self._last

    def keep(self, state: State) -> None:
        """Write down what has changed since the last time."""
        before, self._last = self._last, state
        known = before.orders if before else {}
        self._db.execute("BEGIN")
        for place, (order_id, order) in enumerate(state.orders.items()):
            if known.get(order_id) is not order:
                row = (order_id, place, _ORDER.dump_json(order).decode())
                self._db.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, ?)", row)
        for place in range(len(before.fills) if before else 0, len(state.fills)):
            fill = state.fills[place]
            self._db.execute("INSERT INTO fills VALUES (?, ?, ?)", (fill.id, place, _FILL.dump_json(fill).decode()))
        if before is None or (before.cash, before.positions) != (state.cash, state.positions):
            self._keep("cash", str(state.cash))
            self._keep("positions", json.dumps({name: _amounts(one) for name, one in state.positions.items()}))
        self._db.execute("COMMIT")

    def log_entries(self) -> list[Json]:
        """Return the log as it was kept."""
        return [dict(json.loads(value)) for (value,) in self._db.execute("SELECT value FROM log ORDER BY number")]

    def keep_entry(self, entry: Json) -> None:
        """Write down an entry of the log."""
        self._db.execute("INSERT INTO log VALUES (?, ?)", (entry["number"], dumped(entry)))

    def keep_market(self, now: dt.datetime, prices: Mapping[str, Decimal]) -> None:
        """Write down the exchange's instant and the last prices."""
        self._db.execute("BEGIN")
        self._keep("now", now.isoformat())
        self._keep("prices", json.dumps({name: str(price) for name, price in prices.items()}))
        self._db.execute("COMMIT")

    def market(self) -> tuple[dt.datetime | None, dict[str, Decimal]]:
        """Return the kept instant and prices."""
        now, prices = self._kept("now"), json.loads(self._kept("prices") or "{}")
        return (dt.datetime.fromisoformat(now) if now else None), {name: Decimal(one) for name, one in prices.items()}

    def _keep(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, value))

    def _kept(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])


def _amounts(position: Position) -> dict[str, Any]:
    return {name: str(value) for name, value in dataclasses.asdict(position).items()}
