"""What a trading connector must not forget, in one SQLite file: events and whether they were sent, positions, books.

An order's events are committed together with the offset that was reached and with the broker's book, then sent, then
marked. After a crash at any point what was committed and not marked is sent again, the same bytes. An order whose
events are here is known, and never trades again.
"""

import contextlib
import os
import pathlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from trading.inputs import BrokerEvent

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    client_order_id TEXT,
    value BLOB NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS outbox_unsent ON outbox (id) WHERE sent = 0;
CREATE INDEX IF NOT EXISTS outbox_of_order ON outbox (client_order_id);
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
);
CREATE TABLE IF NOT EXISTS logs (topic TEXT PRIMARY KEY, topic_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS books (account_id TEXT PRIMARY KEY, book TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS works (client_order_id TEXT PRIMARY KEY, is_live INTEGER NOT NULL, work TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS owners (mode TEXT PRIMARY KEY, number TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS newest (account_id TEXT PRIMARY KEY, client_order_id TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS works_live ON works (client_order_id) WHERE is_live = 1;
"""
_MOST_AT_ONCE = 500


class Unsent(NamedTuple):
    """An event that waits to be sent; `client_order_id` is None for a snapshot of the account."""

    id: int
    account_id: str
    client_order_id: str | None
    value: bytes


class Journal:
    """Keep the file of one connector process; a second process that opens it waits, and then fails."""

    def __init__(self, path: pathlib.Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path, timeout=5, isolation_level=None)
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything that is written inside, or nothing of it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:  # also when the task is cancelled
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def knows(self, client_order_id: str) -> bool:
        """Return whether anything was ever said of an order."""
        found = self._db.execute("SELECT 1 FROM outbox WHERE client_order_id = ? LIMIT 1", (client_order_id,))
        return found.fetchone() is not None

    def add(self, events: Iterable[BrokerEvent]) -> None:
        """Put events at the end of what is to be sent."""
        self._db.executemany(
            "INSERT INTO outbox (event_id, account_id, client_order_id, value) VALUES (?, ?, ?, ?)",
            [
                (event.event_id, event.account_id, getattr(event, "client_order_id", None), _bytes(event))
                for event in events
            ],
        )

    def send_again(self, client_order_id: str) -> None:
        """Have everything that was said of an order said again, in the same words."""
        self._db.execute("UPDATE outbox SET sent = 0 WHERE client_order_id = ?", (client_order_id,))

    def unsent(self) -> list[Unsent]:
        """Return the next events to send, oldest first; some hundreds at most."""
        query = "SELECT id, account_id, client_order_id, value FROM outbox WHERE sent = 0 ORDER BY id LIMIT ?"
        return [Unsent(*row) for row in self._db.execute(query, (_MOST_AT_ONCE,))]

    def mark_sent(self, events: Sequence[Unsent]) -> None:
        """Note that the log has these events."""
        with self.transaction():
            self._db.executemany("UPDATE outbox SET sent = 1 WHERE id = ?", [(event.id,) for event in events])

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next offset to read by topic, as Kafka knows it, and partition."""
        rows = self._db.execute("SELECT topic, partition, next_offset FROM positions")
        return {(topic, partition): next_offset for topic, partition, next_offset in rows}

    def move(self, topic: str, partition: int, *, next_offset: int) -> None:
        """Note how far a topic was read."""
        self._db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (topic, partition, next_offset))

    def meet(self, topic_ids: Mapping[str, str]) -> None:
        """Forget how far topics were read that are others than those met last, though they have their names."""
        for topic, topic_id in topic_ids.items():
            known = self._db.execute("SELECT topic_id FROM logs WHERE topic = ?", (topic,)).fetchone()
            if known is not None and known[0] != topic_id:
                self._db.execute("DELETE FROM positions WHERE topic = ?", (topic,))
            self._db.execute("INSERT OR REPLACE INTO logs VALUES (?, ?)", (topic, topic_id))

    def book(self, account_id: str) -> str | None:
        """Return an account's book as it was saved."""
        row = self._db.execute("SELECT book FROM books WHERE account_id = ?", (account_id,)).fetchone()
        return None if row is None else str(row[0])

    def save_book(self, account_id: str, book: str) -> None:
        """Replace an account's book."""
        self._db.execute("INSERT OR REPLACE INTO books VALUES (?, ?)", (account_id, book))

    def newest_order(self, account_id: str) -> str:
        """Return the last order of an account that was read; empty before the first."""
        row = self._db.execute("SELECT client_order_id FROM newest WHERE account_id = ?", (account_id,)).fetchone()
        return "" if row is None else str(row[0])

    def save_newest_order(self, account_id: str, client_order_id: str) -> None:
        """Note that an order was read."""
        self._db.execute("INSERT OR REPLACE INTO newest VALUES (?, ?)", (account_id, client_order_id))

    def owner(self, mode: str) -> str | None:
        """Return the number of the broker's account that was traded in a mode; None before any was."""
        row = self._db.execute("SELECT number FROM owners WHERE mode = ?", (mode,)).fetchone()
        return None if row is None else str(row[0])

    def save_owner(self, mode: str, number: str) -> None:
        """Note which of the broker's accounts is traded in a mode."""
        self._db.execute("INSERT INTO owners VALUES (?, ?)", (mode, number))

    def work(self, client_order_id: str) -> str | None:
        """Return what was saved of an order that takes its time."""
        row = self._db.execute("SELECT work FROM works WHERE client_order_id = ?", (client_order_id,)).fetchone()
        return None if row is None else str(row[0])

    def save_work(self, client_order_id: str, work: str, *, is_live: bool) -> None:
        """Replace what is known of an order; `is_live` while something may still happen to it."""
        self._db.execute(
            "INSERT INTO works VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET is_live = excluded.is_live, work = excluded.work",
            (client_order_id, int(is_live), work),
        )

    def works(self) -> Iterator[str]:
        """Give what was saved of every order that takes its time."""
        for row in self._db.execute("SELECT work FROM works ORDER BY rowid"):
            yield str(row[0])

    def live_works(self) -> list[str]:
        """Return what was saved of the orders that are live, in the order in which they were first saved."""
        return [str(row[0]) for row in self._db.execute("SELECT work FROM works WHERE is_live = 1 ORDER BY rowid")]

    def accounts(self) -> list[str]:
        """Return the accounts that have a book."""
        return [str(row[0]) for row in self._db.execute("SELECT account_id FROM books ORDER BY account_id")]


def _bytes(event: BrokerEvent) -> bytes:
    return event.model_dump_json(exclude_none=True).encode()
