"""What an operator may do. Each is a command to the log, answered once it is applied, or with 202 when that takes long.

The engine decides; here its answer becomes a status. `Idempotency-Key` sets the command's id: a request that is
repeated with the same key does nothing twice.
"""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from api.bodies import Adjustment, Arming, ConfigChange, Empty, Flatten, NextEarnings, Resumption, TierChoice
from api.parts import Account, Here, Parts
from api.problems import Problem, answers
from api.states import Applied, Armed, ConfirmationNeeded, PendingCommand
from trading import arming
from trading.circuit_breaker import trading_state
from trading.inputs import (
    AdjustReserve,
    ArmLive,
    Command,
    FlagEarnings,
    Kill,
    Pause,
    ReleaseRiskTier,
    Resume,
    SetRiskTier,
    UpdateConfig,
)
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio
from trading.records import CommandResult

SECONDS_TO_APPLY: Final = 5.0
STATUSES: Final = {"unknown_field": 422, "invalid_field": 422}
"""The status of a refusal by the word that its error begins with; any other is a conflict with the state: 409."""

router = APIRouter(
    prefix="/api/trading",
    tags=["control"],
    responses=answers(400, 404, 409, 413, 422, 503)
    | {202: {"model": PendingCommand, "description": "sent, and not yet applied"}},
)


@dataclass(frozen=True)
class Issuer:
    """Where commands of this request go, and what they carry."""

    parts: Parts
    account_id: str
    command_id: str
    issued_by: str

    def carries(self) -> dict[str, Any]:
        """Return the fields that every command has."""
        return {"account_id": self.account_id, "command_id": self.command_id, "issued_by": self.issued_by}


def _issuer(
    request: Request,
    here: Here,
    account_id: Account,
    key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,200}$", description="the command's id"),
    ] = None,
) -> Issuer:
    role = request.state.role.name.lower()
    return Issuer(here, account_id, command_id=key or str(uuid.uuid4()), issued_by=f"api:{role}")


Issued = Annotated[Issuer, Depends(_issuer)]


@router.post("/pause", response_model=Applied)
async def pause(issued: Issued, body: Empty | None = None) -> Any:
    """Stop entries until `resume`; exits go on."""
    return await carry_out(issued, Pause(**issued.carries()))


@router.post("/resume", response_model=Applied)
async def resume(issued: Issued, body: Resumption | None = None) -> Any:
    """End a pause; to end the halt of a kill, confirm with `RESUME`."""
    confirmed = body is not None and body.confirm is not None
    if not confirmed and (await issued.parts.engine.row(issued.account_id)).halted:
        raise Problem(409, "halted_needs_confirmation", 'trading is halted by a kill: send {"confirm": "RESUME"}')
    return await carry_out(issued, Resume(**issued.carries()))


@router.post("/kill", response_model=Applied)
async def kill(issued: Issued, body: Flatten) -> Any:
    """Cancel every entry, sell every position now or at the open, and halt."""
    return await carry_out(issued, Kill(**issued.carries(), reason=body.reason))


@router.post("/arm", response_model=Armed)
async def arm(issued: Issued, body: Arming) -> Any:
    """Let entries out on live money, for one session at most; the armer's token alone may, and only in live mode."""
    until = body.until
    if until is None:
        view = await issued.parts.engine.view(issued.account_id)
        until = arming.last_instant(view.as_of) or view.as_of
    return await carry_out(issued, ArmLive(**issued.carries(), until=until), shown=_armed)


@router.put("/risk-tier", response_model=Applied)
async def choose_risk_tier(issued: Issued, body: TierChoice) -> Any:
    """Set the risk tier and hold it, or give it back to the daily evaluation."""
    if body.risk_tier is None:
        return await carry_out(issued, ReleaseRiskTier(**issued.carries()))
    return await carry_out(issued, SetRiskTier(**issued.carries(), risk_tier=body.risk_tier))


@router.post("/reserve/adjust", response_model=Applied)
async def adjust_reserve(issued: Issued, body: Adjustment) -> Any:
    """Move dollars into the reserve pool; a negative amount moves them out of it."""
    return await carry_out(issued, AdjustReserve(**issued.carries(), amount=body.amount, reason=body.reason))


@router.put("/earnings", response_model=Applied)
async def flag_earnings(issued: Issued, body: NextEarnings) -> Any:
    """Enter the next earnings date of a company by hand."""
    return await carry_out(issued, FlagEarnings(**issued.carries(), **body.model_dump()))


@router.put(
    "/config",
    response_model=TradingPolicy,
    responses={202: {"model": ConfirmationNeeded | PendingCommand, "description": "confirm, or wait"}},
)
async def change_config(issued: Issued, body: ConfigChange) -> Any:
    """Change fields of the policy and answer the new one once it is in force.

    What loosens a limit answers 202 with a token first; the same body with that token, within five minutes, acts.
    """
    unknown = sorted(set(body.changes) - set(TradingPolicy.model_fields))
    if unknown:
        raise Problem(422, "unknown_field", f"the policy has no field {unknown[0][:64]!a}")
    command = UpdateConfig(
        **issued.carries(),
        version=body.version,
        changes=body.changes,
        confirmation_token=body.confirmation_token,
    )
    return await carry_out(issued, command, shown=lambda row, _: row.policy)


def _applied(row: Portfolio, result: CommandResult) -> Applied:
    return Applied(
        command_id=result.command_id,
        account_id=row.account_id,
        at=result.at,
        trading_state=trading_state(row),
        paused=row.paused,
        risk_tier=row.risk_tier,
        held=row.tier_held,
    )


def _armed(row: Portfolio, result: CommandResult) -> Armed:
    until = row.armed_until or result.at  # it may have expired between the two
    return Armed(command_id=result.command_id, account_id=row.account_id, at=result.at, armed_until=until)


async def carry_out(
    issued: Issuer, command: Command, *, shown: Callable[[Portfolio, CommandResult], BaseModel] = _applied
) -> BaseModel | JSONResponse:
    """Send a command and return what became of it: the state after it, or a 202; raise `Problem` for a refusal."""
    parts = issued.parts
    until = asyncio.get_running_loop().time() + SECONDS_TO_APPLY
    try:
        result = await parts.commands.send(command, until=until)
    except Problem:
        parts.meters.command(command.kind, outcome="unsent")
        raise
    if result is None:
        parts.meters.command(command.kind, outcome="pending")
        return _accepted(PendingCommand(command_id=command.command_id))
    parts.meters.command(command.kind, outcome="accepted" if result.accepted else "refused")
    if not result.accepted:
        return _refused(result)
    row = await parts.engine.row_at(issued.account_id, seq=result.cause, until=until)
    return shown(row, result) if row is not None else _accepted(PendingCommand(command_id=command.command_id))


def _refused(result: CommandResult) -> JSONResponse:
    """Return the 202 that asks for a confirmation; raise `Problem` for any other refusal."""
    code, _, detail = (result.error or "refused: the engine gave no reason").partition(": ")
    if code == "confirmation_required" and result.confirmation_token and result.expires_at:
        return _accepted(
            ConfirmationNeeded(
                command_id=result.command_id,
                confirmation_token=result.confirmation_token,
                expires_at=result.expires_at,
                loosens=list(result.loosens),
            )
        )
    raise Problem(STATUSES.get(code, 409), code, detail, command_id=result.command_id)


def _accepted(body: BaseModel) -> JSONResponse:
    return JSONResponse(body.model_dump(mode="json"), status_code=202)
