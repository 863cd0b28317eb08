"""A broker of your own, as `STONKS_BROKER=external` wants it: `python docs/external_broker.py KAFKA ACCOUNT CASH`.

It fills each order at its symbol's last tick and knows the engine by its topics alone. It keeps nothing of its own:
after a crash it reads in `broker-events` what it has said already, and an order that it has answered is answered.
"""

import json
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

Json = dict[str, Any]
ENDS = {"order_fill", "order_rejected", "order_cancelled"}


class Broker:
    """One account: its orders by `client_order_id`, how each ended, and the cash and shares that came of it."""

    def __init__(self, kafka: str, account_id: str, cash: Decimal) -> None:
        self.kafka, self.account_id, self.cash = kafka, account_id, cash
        self.orders: dict[str, Json] = {}
        self.ended: set[str] = set()
        self.shares: dict[str, Decimal] = defaultdict(Decimal)
        self.prices: dict[str, str] = {}
        self.tails: dict[str, tuple[Consumer, dict[int, int]]] = {}
        # Java's partitioner: an account's events must meet in one partition, whoever writes them.
        self.producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random", "linger.ms": 0})
        self.orders |= {order["client_order_id"]: order for order in self.news("orders")}
        for event in self.news("broker-events"):
            self.book(event)

    def run(self) -> None:
        """Report the account first and then each minute; end each order once, at a price, by a refusal or a cancel."""
        reported_at = -60.0
        while True:
            if time.monotonic() - reported_at >= 60:
                self.report()
                reported_at = time.monotonic()
            self.orders |= {order["client_order_id"]: order for order in self.news("orders")}
            for name in [name for name in self.orders if name not in self.ended]:
                self.place(self.orders[name])
            for cancel in self.news("order-cancels"):
                if cancel["client_order_id"] not in self.ended:  # else it is too late, and its fill has been told
                    self.say(cancel, "order_cancelled", cumulative_quantity="0", reason=cancel["reason"])
            time.sleep(0.1)

    def place(self, order: Json) -> None:
        """Fill an order at the newest price, or refuse it."""
        for tick in self.news("price-ticks"):
            self.prices[tick["symbol"]] = str((tick.get("ticks") or [tick])[-1]["price"])
        symbol, quantity = order["symbol"], order["quantity"]
        price = self.prices.get(symbol, "0")
        cost = Decimal(quantity) * Decimal(price)
        affordable = cost <= self.cash if order["side"] == "buy" else Decimal(quantity) <= self.shares[symbol]
        if not cost or not affordable:
            self.say(order, "order_rejected", reason="no price" if not cost else "not enough cash or shares")
            return
        self.say(order, "order_accepted")
        fill = {"fill_id": f"{order['client_order_id']}:{quantity}", "quantity": quantity, "price": price}
        self.say(order, "order_fill", **fill, cumulative_quantity=quantity, leaves_quantity="0", fee="0")

    def say(self, order: Json, kind: str, **fields: str) -> None:
        """Tell what became of an order; the event's id is the same each time it is told."""
        name, symbol = order["client_order_id"], order["symbol"]
        event = {"kind": kind, "event_id": f"{name}:{kind}", "client_order_id": name, "symbol": symbol, **fields}
        self.send(event)
        self.book({**event, "account_id": self.account_id})

    def book(self, event: Json) -> None:
        """Count how an order ended, once."""
        name = event.get("client_order_id", "")
        if event["account_id"] != self.account_id or event["kind"] not in ENDS or name in self.ended:
            return
        self.ended.add(name)
        if event["kind"] == "order_fill":
            bought = Decimal(event["quantity"]) * (1 if self.orders[name]["side"] == "buy" else -1)
            self.cash -= bought * Decimal(event["price"])
            self.shares[event["symbol"]] += bought
            self.prices.setdefault(event["symbol"], event["price"])

    def report(self) -> None:
        """Tell the account; every fill that it contains has been told before, and no market order stays open."""
        held = {symbol: quantity for symbol, quantity in self.shares.items() if quantity}
        worth = sum((quantity * Decimal(self.prices[symbol]) for symbol, quantity in held.items()), self.cash)
        positions = [
            {"symbol": symbol, "quantity": str(quantity), "avg_entry_price": self.prices[symbol]}
            for symbol, quantity in held.items()
        ]
        money = {"cash": str(self.cash), "buying_power": str(self.cash), "equity": str(worth)}
        named = {"kind": "account_snapshot", "event_id": str(uuid.uuid4())}
        self.send({**named, **money, "positions": positions, "open_orders": []})

    def send(self, event: Json) -> None:
        """Write an event under the account's key, and wait until it lies in the log."""
        value = json.dumps({**event, "account_id": self.account_id}).encode()
        self.producer.produce("broker-events", key=self.account_id.encode(), value=value)
        if self.producer.flush(30):
            sys.exit("Kafka does not take what this broker says")

    def news(self, topic: str) -> Iterator[Json]:
        """Yield what has come to a topic since the last call, up to the end that it has now; first all of it."""
        if topic not in self.tails:
            consumer = Consumer(
                {"bootstrap.servers": self.kafka, "group.id": str(uuid.uuid4()), "enable.auto.commit": False}
            )
            self.tails[topic] = consumer, dict.fromkeys(consumer.list_topics(topic, 30).topics[topic].partitions, 0)
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in self.tails[topic][1]])
        consumer, places = self.tails[topic]
        ends = {number: consumer.get_watermark_offsets(TopicPartition(topic, number), 30)[1] for number in places}
        while any(places[number] < end for number, end in ends.items()):
            for message in consumer.consume(500, 0.1):
                places[message.partition()] = message.offset() + 1
                body = json.loads(message.value() or b"{}")
                if body.get("account_id", self.account_id) == self.account_id:
                    yield body


if __name__ == "__main__":
    Broker(sys.argv[1], sys.argv[2], Decimal(sys.argv[3])).run()
