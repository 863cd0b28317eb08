"""What the broker does: partial fills, rejects, unknowns, cancels, messages that overtake one another or come twice."""

from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.strategies import cents
from tests.trading.machine_market import Market

D = Decimal


class Broker(Market):
    """The rules of orders on their way, and of the broker's account."""

    @precondition(lambda self: self.broker.open)
    @rule(data=st.data(), part=st.sampled_from([1, 2, 99]), slip=st.integers(-5, 5), fee=cents("0", "0.05"))
    def broker_fills(self, data: st.DataObject, part: int, slip: int, fee: Decimal) -> None:
        ticket = data.draw(st.sampled_from(self.broker.open))
        price = (self.prices[ticket.order.symbol] * (10_000 + slip) / 10_000).quantize(D("0.0001"))
        self.broker.fill(ticket, min(D(part), ticket.left), price=price, fee=fee)

    @precondition(lambda self: self.broker.open)
    @rule(data=st.data(), what=st.sampled_from(["accept", "lose_sight", "end"]))
    def broker_says(self, data: st.DataObject, what: str) -> None:
        getattr(self.broker, what)(data.draw(st.sampled_from(self.broker.open)))

    @precondition(lambda self: self.broker.mail)
    @rule(data=st.data())
    def deliver_one(self, data: st.DataObject) -> None:
        """Deliver any message that is under way: an order's messages may overtake one another."""
        place = data.draw(st.integers(0, len(self.broker.mail) - 1))
        self.send(self.broker.mail.pop(place))

    @rule()
    def deliver(self) -> None:
        self.deliver_all()

    @rule()
    def tell_again(self) -> None:
        """Deliver everything, and then the last fills and the last snapshot once more: nothing may change (20)."""
        self.deliver_all()
        self.send({"kind": "clock"})  # what a shorter interval has made due already falls due now
        told = [event for event in self.past if event.kind in ("order_fill", "order_cancelled", "order_rejected")]
        for event in told[-4:]:
            before = self.portfolio
            order = before.live_order(event.client_order_id)
            if order is None or order.status in ("filled", "cancelled", "rejected"):
                effects = self.fold(event.model_copy(update={"at": None}))
                if order is not None:
                    assert self.portfolio.model_copy(update={"seq": before.seq}) == before
                    assert effects == ()

    @rule(moved=st.sampled_from([0, 0, 0, 0, 0, -30, 50, -240]))
    def snapshot(self, moved: int = 0) -> None:
        """Send the account as it is, after all that it contains; sometimes money was paid in or out."""
        self.deliver_all()
        self.broker.cash += max(moved, -self.broker.cash) if moved < 0 else moved
        for _ in range(3 if moved else 1):
            self.send(self.broker.account())
        portfolio = self.portfolio
        if portfolio.reconciled and not portfolio.orders and portfolio.unmatched == "":
            assert portfolio.cash == self.broker.cash
            ours = {position.symbol: position.quantity for position in portfolio.positions}
            theirs = {position.symbol: position.quantity for position in portfolio.foreign}
            both = {symbol: ours.get(symbol, D(0)) + theirs.get(symbol, D(0)) for symbol in ours | theirs}
            assert both == {symbol: held for symbol, held in self.broker.shares.items() if held}
