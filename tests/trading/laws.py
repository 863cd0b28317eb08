"""The invariants of `reliability.md` that one account can break, checked after every step, and who checks which.

| invariant | checked by |
|---|---|
| 1 pools add up | `money.pools` |
| 2 ledger | `money.ledger` |
| 3 reserve and siphon | `money.ledger`, `money.fills` |
| 4 emergency | `performance.rescued` |
| 5 a buy is backed | `orders.entering` |
| 6 allocation | `signals.limits`; non-decreasing: `test_position_sizer` |
| 7 caps, whole shares | `signals.limits` |
| 8 sector | `orders.entering` |
| 9 correlation | `signals.limits`; symmetric, unit diagonal: `test_correlation` |
| 10 heat | `orders.entering`, `levels.heat`, `levels.tightened` |
| 11 number of positions | `orders.entering` |
| 12 nothing while reducing | `orders.entering` |
| 13 a crossing is answered | `levels.answered`, `levels.left` |
| 14 one live exit | `orders.exits`, and the broker's own books |
| 15 stops never fall | `levels.ratchet`, `levels.audited` |
| 16 levels in order | `levels.opened` |
| 17 breakers last | `records.lasting`; over restarts: 21 |
| 18, 19 one decision | `signals.once` |
| 20 repeats change nothing | `machine_signals.repeat`, `machine_broker.tell_again` |
| 21 restarts change nothing | `machine_account.fold` folds every step from a re-read row |
| 22 order ids | `orders.ids` |
| 23 tranches | `orders.entering`, `orders.recall` |
| 24 the window | `orders.entering`, `orders.rebalanced` |
| 25 the queue | `signals.once` (a decision that acts failed no gate, waiting or not) |
| 26 lots, basis, wash sales | `money.fills`, `money.lots`, `money.taxed`; worked examples: `test_wash_sales` |
| 27 tiers | `records.tiers` |
| 28 rebalances | `orders.rebalanced` |
| 29 earnings | `signals.limits` |
| 30 micro trades | `signals.micro`, `levels.overdue` |
| 31 metrics | `performance.traded`, `performance.curved`; against empyrical: `test_performance` |
| 32 backtest | with the backtester |
| 33 configuration | `records.configured`, `machine_operator.configure` |
| 34 notifications | `records.told` (each event is told); limits an hour: with delivery |
| 35 no float, no NaN | `records.plain`; refusals: `tests/streams/test_codec.py` |

Each check is a function of `(seen, turn)`: what an auditor remembers, and one step. `RULES` is all of them, in order.
"""

from collections.abc import Callable

from tests.trading import laws_levels, laws_money, laws_orders, laws_performance, laws_records, laws_signals
from tests.trading.auditor import Seen, Turn

Law = Callable[[Seen, Turn], None]
RULES: tuple[Law, ...] = (
    *laws_records.RULES,
    *laws_money.RULES,
    *laws_signals.RULES,
    *laws_orders.RULES,
    *laws_levels.RULES,
    *laws_performance.RULES,
)


class Laws:
    """What was seen of one account so far."""

    def __init__(self) -> None:
        self.seen = Seen()

    def check(self, turn: Turn) -> None:
        """Fail when a step broke a law."""
        for law in RULES:
            law(self.seen, turn)
