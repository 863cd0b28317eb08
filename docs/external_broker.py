"""A broker of your own, as `STONKS_BROKER=external` wants it: `python docs/external_broker.py KAFKA ACCOUNT CASH`.

It fills each order as a whole at its symbol's last tick and knows the engine by its topics alone. It keeps nothing: it
reads them from their beginning, so after a crash it finds in `broker-events` which orders it has ended already.
"""

import asyncio
import json
import sys
import time
from collections import defaultdict
from decimal import Decimal
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

TOPICS = ("orders", "order-cancels", "broker-events", "price-ticks")
ENDS = {"order_fill", "order_rejected", "order_cancelled"}


class Broker:
    """One account: its orders (symbol, and shares, negative to sell), which have ended, and what it holds by that."""

    def __init__(self, account_id: str, cash: str) -> None:
        self.account_id, self.cash = account_id, Decimal(cash)
        self.orders, self.prices = dict[str, tuple[str, Decimal]](), dict[str, Decimal]()
        self.cancelled, self.ended = set[str](), set[str]()
        self.shares, self.cost = defaultdict[str, Decimal](Decimal), defaultdict[str, Decimal](Decimal)

    async def run(self, kafka: str) -> None:
        """Report the account first and then each minute; end each order once, by a cancel, a fill or a refusal."""
        consumer = AIOKafkaConsumer(*TOPICS, bootstrap_servers=kafka, auto_offset_reset="earliest")
        # It partitions as Java does: an account's events must meet in one partition, whoever writes them.
        producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True)
        async with consumer as self.consumer, producer as self.producer:
            report_at = 0.0
            while True:
                for topic in TOPICS:  # orders before prices: the tick that led to an order was written before it
                    await self.read(topic)
                if time.monotonic() >= report_at:
                    await self.report()
                    report_at = time.monotonic() + 60
                for name in [name for name in self.orders if name not in self.ended]:
                    await self.end(name, *self.orders[name])
                await asyncio.sleep(0.1)

    async def read(self, topic: str) -> None:
        """Take in all that a topic holds by now."""
        partitions = [partition for partition in self.consumer.assignment() if partition.topic == topic]
        ends = await self.consumer.end_offsets(partitions)
        while any([await self.consumer.position(partition) < end for partition, end in ends.items()]):
            for messages in (await self.consumer.getmany(*partitions, timeout_ms=100)).values():
                for message in messages:
                    self.take_in(topic, json.loads(message.value))

    def take_in(self, topic: str, body: dict[str, Any]) -> None:
        """Keep a price, or what concerns an order of this account; it ends once, however often that is told."""
        name = body.get("client_order_id", "")
        if topic == "price-ticks":
            self.prices[body["symbol"]] = Decimal(str((body.get("ticks") or [body])[-1]["price"]))
        elif body["account_id"] != self.account_id:
            return
        elif topic == "orders":
            self.orders[name] = body["symbol"], Decimal(body["quantity"]) * (1 if body["side"] == "buy" else -1)
        elif topic == "order-cancels":
            self.cancelled.add(name)
        elif body["kind"] in ENDS and name not in self.ended:
            self.ended.add(name)
            if body["kind"] == "order_fill":
                (symbol, bought), price = self.orders[name], Decimal(body["price"])
                self.cash -= bought * price
                self.cost[symbol] += bought * (price if bought > 0 else self.cost[symbol] / self.shares[symbol])
                self.shares[symbol] += bought

    async def end(self, name: str, symbol: str, bought: Decimal) -> None:
        """Confirm an order's cancel, or fill it at the last price, or refuse it."""
        about, price = {"client_order_id": name, "symbol": symbol}, self.prices.get(symbol)
        if name in self.cancelled:
            await self.say("order_cancelled", f"{name}:order_cancelled", **about, cumulative_quantity="0")
        elif price is None or bought * price > self.cash or self.shares[symbol] + bought < 0:
            await self.say("order_rejected", f"{name}:order_rejected", **about, reason="no price, cash or shares")
        else:
            await self.say("order_accepted", f"{name}:order_accepted", **about)
            fill = {"fill_id": f"{name}:{abs(bought)}", "quantity": abs(bought), "price": price, "fee": "0"}
            whole = {"cumulative_quantity": abs(bought), "leaves_quantity": "0"}
            await self.say("order_fill", f"{name}:order_fill", **about, **fill, **whole)

    async def report(self) -> None:
        """Say what the account holds; every fill in it has been told before, and no order stays open."""
        held = {symbol: shares for symbol, shares in self.shares.items() if shares}
        average = {symbol: round(self.cost[symbol] / shares, 9) for symbol, shares in held.items()}
        equity = self.cash + sum(shares * self.prices.get(symbol, average[symbol]) for symbol, shares in held.items())
        lines = [{"symbol": name, "quantity": held[name], "avg_entry_price": average[name]} for name in held]
        account = {"cash": self.cash, "buying_power": self.cash, "equity": equity, "positions": lines}
        known = {"open_orders": [], "newest_order_id": next(reversed(self.orders), "")}
        await self.say("account_snapshot", str(time.time_ns()), **account, **known)

    async def say(self, kind: str, event_id: str, **fields: Any) -> None:
        """Write an event under the account's key, wait until it lies in the log, and take it in."""
        event = {"kind": kind, "event_id": event_id, "account_id": self.account_id, **fields}
        value = json.dumps(event, default=str).encode()  # decimals as strings
        await self.producer.send_and_wait("broker-events", value, key=self.account_id.encode())
        self.take_in("broker-events", event)


if __name__ == "__main__":
    asyncio.run(Broker(*sys.argv[2:]).run(sys.argv[1]))
