"""Micro-trading (R20.7, R20.9): whether it is on, today's trades, what is open, and the last seven days.

A day is the UTC date: it holds the whole of a regular session, and in the evening it is still New York's. Figures come
from the tables alone, where micro trades stand apart.
"""

import asyncio
import datetime as dt
from typing import Any, Final

from fastapi import APIRouter

from api import queries, rows
from api.database import Row
from api.parts import Account, Here
from api.problems import answers
from trading import trading_window

DAYS: Final = 7
router = APIRouter(prefix="/api/trading", tags=["state"])


@router.get("/micro", response_model=rows.Micro, responses=answers(404, 422, 503))
async def micro(here: Here, account_id: Account) -> dict[str, Any]:
    """Return the state and the figures of micro-trading."""
    view = await here.engine.view(account_id)
    today = trading_window.new_york_date(view.as_of)
    first = today - dt.timedelta(days=DAYS - 1)
    sessions = await asyncio.to_thread(trading_window.sessions_from, first - dt.timedelta(days=1), until=today)
    days = (account_id, _begin(today), _begin(today + dt.timedelta(days=1)))
    week = (account_id, _begin(first), days[2])
    of_today, of_week, per_day, positions = await asyncio.gather(
        here.database.rows(TODAY, *days),
        here.database.rows(WEEK, *week, max(sessions, 0)),
        here.database.rows(PER_DAY, *week),
        here.database.rows(POSITIONS, account_id),
    )
    policy = view.row.policy
    return {
        "enabled": policy.micro_trading_enabled,
        "as_of": view.as_of,
        "today": {"on": today, "max_entries": policy.micro_max_trades_per_day} | _only(of_today),
        "positions": positions,
        "trailing_7_days": {"since": first, "until": today, "per_day": per_day} | _only(of_week),
    }


def _begin(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _only(found: list[Row]) -> Row:
    (row,) = found
    return row


TODAY: Final = """
SELECT entries, closed, realized_pnl, unrealized_pnl, realized_pnl + unrealized_pnl AS pnl
FROM (
    SELECT count(*) AS entries FROM trading_decisions
    WHERE account_id = $1 AND source_type = 'trend' AND decision = 'act' AND purpose = 'entry'
        AND decided_at >= $2 AND decided_at < $3
) AS entered, (
    SELECT count(*) AS closed, coalesce(sum(realized_pnl), 0) AS realized_pnl FROM trades
    WHERE account_id = $1 AND is_micro AND closed_at >= $2 AND closed_at < $3
) AS realized, (
    SELECT coalesce(sum(unrealized_pnl), 0) AS unrealized_pnl FROM positions WHERE account_id = $1 AND is_micro
) AS held
"""
WEEK: Final = """
SELECT sessions, count, pnl, total_pnl,
    round(wins::numeric / nullif(wins + losses, 0), 9) AS win_rate,
    round(pnl / nullif(count, 0), 9) AS average_pnl,
    round(count::numeric / nullif(sessions, 0), 9) AS count_per_day,
    round(pnl / nullif(total_pnl, 0), 9) AS contribution
FROM (
    SELECT $4::integer AS sessions,
        count(*) FILTER (WHERE is_micro) AS count,
        count(*) FILTER (WHERE is_micro AND realized_pnl > 0) AS wins,
        count(*) FILTER (WHERE is_micro AND realized_pnl < 0) AS losses,
        coalesce(sum(realized_pnl) FILTER (WHERE is_micro), 0) AS pnl,
        coalesce(sum(realized_pnl), 0) AS total_pnl
    FROM trades WHERE account_id = $1 AND closed_at >= $2 AND closed_at < $3
) AS week
"""
PER_DAY: Final = """
SELECT (closed_at AT TIME ZONE 'UTC')::date AS "on", count(*) AS count, sum(realized_pnl) AS pnl
FROM trades WHERE account_id = $1 AND is_micro AND closed_at >= $2 AND closed_at < $3
GROUP BY 1 ORDER BY 1 DESC
"""
POSITIONS: Final = f"{queries.POSITIONS.select} WHERE account_id = $1 AND is_micro ORDER BY opened_at DESC, position_id"
