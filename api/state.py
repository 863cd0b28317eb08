"""The engine as it is now, from the workers' live rows; nothing here waits for PostgreSQL but what shows history."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter

from api.lag import behind
from api.offsets import PerPartition
from api.parts import Account, Here
from api.problems import answers
from api.states import Status, Streams, Summary
from streams.topics import INPUTS, INTERNAL, OUTPUTS
from trading.policy import TradingPolicy
from trading.status import portfolio_summary, status_of

router = APIRouter(prefix="/api/trading", tags=["state"])
PUBLIC: Final = (*INPUTS, *INTERNAL, *OUTPUTS)


@router.get("/status", response_model=Status, responses=answers(404, 422, 503))
async def status(here: Here, account_id: Account) -> dict[str, Any]:
    """Return the state of an account, and how far the engine and PostgreSQL are behind the log.

    `lag` 0: everything acknowledged before the request has had its effect; `projection_lag` 0: in the tables too.
    """
    view, projected = await asyncio.gather(here.engine.view(account_id), here.lags.projected())
    lag, projection_lag = await here.lags.of(view.positions, projected)
    return status_of(view.row, as_of=view.as_of) | {"lag": lag, "projection_lag": projection_lag}


@router.get("/portfolio", response_model=Summary, responses=answers(404, 422, 503))
async def portfolio(here: Here, account_id: Account) -> dict[str, Any]:
    """Return both pools, cash, holds, sectors and heat."""
    view = await here.engine.view(account_id)
    return portfolio_summary(view.row, as_of=view.as_of)


@router.get("/config", response_model=TradingPolicy, responses=answers(404, 422, 503))
async def config(here: Here, account_id: Account) -> TradingPolicy:
    """Return the policy that is in force."""
    return (await here.engine.row(account_id)).policy


@router.get("/streams", response_model=Streams, responses=answers(404, 422, 503))
async def streams(here: Here, account_id: Account) -> dict[str, list[dict[str, Any]]]:
    """Return every topic with its partitions, their ends, and how far each was applied and projected."""
    applied, projected = await asyncio.gather(here.engine.positions(account_id), here.lags.projected())
    ends = await here.offsets.ends(topic.name for topic in PUBLIC)
    return {
        "items": [
            {
                "topic": topic.name,
                "direction": topic.direction,
                "lag": _behind(topic.name, ends, applied) if topic.name in here.lags.applied else None,
                "projection_lag": _behind(topic.name, ends, projected) if topic.name in projected else None,
                "partitions": [
                    {
                        "partition": number,
                        "end_offset": end,
                        "applied_offset": applied.get(topic.name, {}).get(number),
                        "projected_offset": projected.get(topic.name, {}).get(number),
                    }
                    for number, end in sorted(ends[topic.name].items())
                ],
            }
            for topic in PUBLIC
        ]
    }


def _behind(topic: str, ends: PerPartition, positions: PerPartition) -> int:
    return behind({topic: ends[topic]}, positions)
