"""What others do in the same account, and what gets lost: foreign trades and orders, fills and orders nobody tells of.

Whatever a snapshot says, the laws hold after every step; and once the broker is honest again a few snapshots agree.
"""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.trading.machine_account import SYMBOLS
from tests.trading.machine_signals import Signals

D = Decimal
ENOUGH = 8  # snapshots: two for an order, two for its cancel, two for figures, one clean pass, one to spare


class Outside(Signals):
    """The rules of a broker whose account is not ours alone, and whose word may get lost."""

    @rule(symbol=SYMBOLS, shares=st.sampled_from([1, 3, 5]), sells=st.booleans())
    def someone_else_trades(self, symbol: str, shares: int, sells: bool) -> None:
        """Trade in the account by hand: also shares that are ours, but none that an order of ours is selling."""
        if sells and any(ticket.order.symbol == symbol for ticket in self.broker.open):
            return
        held = self.broker.shares.get(symbol, D(0))
        moved = -min(D(shares), held) if sells else D(shares)
        self.broker.shares[symbol] = held + moved
        self.broker.cash -= moved * self.prices[symbol]

    @rule(symbol=SYMBOLS, side=st.sampled_from(["buy", "sell"]), count=st.sampled_from([0, 1, 60]))
    def someone_else_orders(self, symbol: str, side: str, count: int) -> None:
        """Leave open orders in the account, or take them all away."""
        terms = {"symbol": symbol, "side": side, "quantity": "2", "filled_quantity": "0"}
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
            fill = {"quantity": "1", "price": "8", "cumulative_quantity": "1", "leaves_quantity": "0"}
            self.send(body | fill | {"event_id": self.name("event")})
        assert (self.portfolio.cash, self.portfolio.lots) == (before.cash, before.lots)

    @precondition(lambda self: self.broker.mail)
    @rule()
    def the_mail_is_lost(self) -> None:
        """Lose all that the broker has said and nobody has heard: fills, ends, everything."""
        self.broker.mail.clear()

    @precondition(lambda self: self.broker.open)
    @rule(data=st.data())
    def an_order_is_lost(self, data: st.DataObject) -> None:
        """Let an order vanish without a word."""
        data.draw(st.sampled_from(self.broker.open)).is_open = False

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

    def report(self) -> None:
        """Send the account as it is, the orders of others too."""
        body: dict[str, Any] = self.broker.account()
        self.send(body | {"open_orders": [*body["open_orders"], *getattr(self, "strangers", [])]})
