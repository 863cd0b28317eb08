"""What others do in the same account, and what gets lost: foreign trades and orders, fills and orders nobody tells of.

Whatever a snapshot says, the laws hold after every step; and once the broker is honest again a few snapshots agree.
"""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.trading.machine_account import SYMBOLS
from tests.trading.machine_signals import Signals
from tests.trading.paper_broker import PaperBroker
from trading.effects import Order
from trading.order_watch import ANSWER_WITHIN

D = Decimal
LOST = st.sampled_from(["order", "fill", "part"])
ENOUGH = 8  # snapshots: two for an order, two for its cancel, two for figures, one clean pass, one to spare


class SharedBroker(PaperBroker):
    """A broker that refuses to sell what it does not have: others may have sold it."""

    def take(self, order: Order, *, again: bool) -> None:
        """Take an order, or reject it; what was taken before is answered already."""
        super().take(order, again=again)
        if again:
            return
        ticket = self.tickets[order.client_order_id]
        promised = sum((each.left for each in self.open if each.order.symbol == order.symbol), D(0))
        if order.side == "sell" and promised > self.shares.get(order.symbol, D(0)):
            ticket.is_open = False
            self._say("order_rejected", ticket, reason="not enough shares")


class Outside(Signals):
    """The rules of a broker whose account is not ours alone, and whose word may get lost."""

    kind_of_broker = SharedBroker

    @rule(symbol=SYMBOLS, shares=st.sampled_from([1, 3, 5]))
    def someone_else_trades(self, symbol: str, shares: int) -> None:
        """Trade in the account by hand: buy KO, and sell anything, ours too, but what an order of ours is selling."""
        sells = symbol != "KO" or shares == 1
        if sells and any(ticket.order.symbol == symbol for ticket in self.broker.open):
            return
        held = self.broker.shares.get(symbol, D(0))
        moved = -min(D(shares), held) if sells else D(shares)
        self.broker.shares[symbol] = held + moved
        self.broker.cash -= moved * self.prices[symbol]

    @rule(side=st.sampled_from(["buy", "sell"]), count=st.sampled_from([0, 1, 60]))
    def someone_else_orders(self, side: str, count: int) -> None:
        """Leave open orders in the account, or take them all away."""
        terms = {"symbol": "JPM", "side": side, "quantity": "2", "filled_quantity": "0"}
        self.strangers = [terms | {"broker_order_id": f"hand-{number}"} for number in range(count)]

    @rule()
    def an_unknown_order_fills(self) -> None:
        """Tell of a fill of an order that nobody here placed, twice: no money of ours moves."""
        body = {
            "kind": "order_fill",
            "client_order_id": self.name("hand"),
            "symbol": "KO",
            "fill_id": self.name("fill"),
        }
        before = self.portfolio
        for _ in range(2):
            fill = {"quantity": "1", "price": "8", "cumulative_quantity": "1", "leaves_quantity": "0", "fee": "0"}
            self.send(body | fill | {"event_id": self.name("event")})
        assert (self.portfolio.cash, self.portfolio.lots) == (before.cash, before.lots)

    @precondition(lambda self: self.broker.mail)
    @rule()
    def the_mail_is_lost(self) -> None:
        """Lose all that the broker has said and nobody has heard: fills, ends, everything."""
        self.broker.mail.clear()

    @rule(symbol=SYMBOLS, sells=st.booleans(), what=LOST, reports=st.sampled_from([1, 2, 2, 4]))
    def trade_and_lose_a_word(self, symbol: str, sells: bool, what: str, reports: int) -> None:
        """Send an order in a settled account, and let the broker's word of it get lost; the account shows it."""
        self.come_to_terms()
        self.carry_on()
        if sells and not self.portfolio.positions:
            self.buy_and_fill(symbol=symbol, confidence=D(1), whole=False)
        if sells and self.portfolio.positions:
            position = self.portfolio.positions[0]
            self.mark(position.symbol, max(D("0.01"), position.stop_price))
        else:
            self.send_recommendation(symbol, action="buy", mode="paper_eligible", confidence=D(1))
        self.lose_a_word(what, reports)

    def lose_a_word(self, what: str, reports: int) -> None:
        """Let the first open order vanish, or fill, all or in part, without a word, and report the account."""
        self.deliver_all()
        for ticket in self.broker.open[:1]:
            if what == "order":
                ticket.is_open = False
            else:
                shares = ticket.left if what == "fill" else min(D(1), ticket.left)
                self.broker.fill(ticket, shares, price=self.prices[ticket.order.symbol], fee=D(0))
                self.broker.mail.clear()
        self.now += ANSWER_WITHIN  # before, a snapshot may be older than an order that nobody has answered
        for _ in range(reports):
            self.report()

    @rule(symbol=SYMBOLS, left=st.integers(0, 1))
    def ours_are_sold_by_hand(self, symbol: str, left: int) -> None:
        """Hold something in a settled account, and find all or most of it gone: lots and levels go with it."""
        self.come_to_terms()
        if not self.portfolio.positions:
            self.buy_and_fill(symbol=symbol, confidence=D(1), whole=True)
            self.come_to_terms()
        for position in self.portfolio.positions[:1]:
            gone = max(D(0), position.quantity - left)
            self.broker.shares[position.symbol] -= gone
            told = [*self.report(), *self.report()]
            assert not [each for each in told if getattr(each, "kind", "") in ("trade", "ledger_entry")]
            now = self.portfolio.position(position.symbol)
            assert (now.quantity if now is not None else 0) == position.quantity - gone

    @precondition(lambda self: self.broker.tickets)
    @rule(data=st.data())
    def an_ended_order_fills(self, data: st.DataObject) -> None:
        """Fill an order that the broker had lost: what we gave up is counted after all."""
        ended = [ticket for ticket in self.broker.tickets.values() if not ticket.is_open and ticket.left > 0]
        if not ended:
            return
        ticket = data.draw(st.sampled_from(ended))
        if ticket.order.side == "buy":
            self.broker.fill(ticket, ticket.left, price=self.prices[ticket.order.symbol], fee=D(0))
            self.deliver_all()

    @precondition(lambda self: self.broker.mail)
    @rule()
    def a_snapshot_runs_ahead(self) -> None:
        """Send the account before the fills that it contains."""
        self.report()

    @rule()
    def come_to_terms(self) -> None:
        """Let the broker be honest for some snapshots: the row agrees with it, and entries may go on."""
        self.deliver_all()
        for ticket in self.broker.open:
            self.broker.end(ticket)
        self.deliver_all()
        self.strangers = []
        self.now += ANSWER_WITHIN
        for _ in range(ENOUGH):
            self.report()
            self.deliver_all()
            for ticket in self.broker.open:
                self.broker.end(ticket)
            self.deliver_all()
        portfolio = self.portfolio
        assert portfolio.orders == ()
        assert portfolio.reconciled
        assert portfolio.cash == self.broker.cash
        ours = {each.symbol: each.quantity for each in portfolio.positions}
        for each in portfolio.foreign:
            ours[each.symbol] = ours.get(each.symbol, D(0)) + each.quantity
        assert ours == {symbol: held for symbol, held in self.broker.shares.items() if held}
        assert all(each.quantity > 0 for each in portfolio.foreign)
        assert portfolio.foreign_orders == ()

    def report(self) -> tuple[Any, ...]:
        """Send the account as it is, the orders of others too, and return what came of it."""
        body: dict[str, Any] = self.broker.account()
        return self.send(body | {"open_orders": [*body["open_orders"], *getattr(self, "strangers", [])]})
