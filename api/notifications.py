"""Notifications (R19.8 to R19.10): what was told, to whom and about what, and how that is changed.

Phone numbers and addresses never leave: an answer shows them masked, and a target that comes back as it was shown stays
as it is.
"""

from typing import Any, Final

from fastapi import APIRouter

from api import queries, rows
from api.bodies import ChannelTest, PreferencesChange
from api.control import Issued, carry_out
from api.history import Paged
from api.parts import Account, Here
from api.problems import answers
from api.states import Applied, PendingCommand, Preferences
from trading.inputs import SendTestNotification, UpdateNotifications
from trading.portfolio import Portfolio
from trading.preferences import TARGETS, masked

router = APIRouter(
    prefix="/api/trading/notifications",
    tags=["notifications"],
    responses=answers(400, 404, 409, 413, 422, 503),
)
_PENDING: Final[dict[int | str, dict[str, Any]]] = {
    202: {"model": PendingCommand, "description": "sent, and not yet applied"}
}


@router.get("", response_model=rows.Page[rows.Notification])
async def notifications(here: Here, account_id: Account, paging: Paged) -> dict[str, Any]:
    """Return what the operator was told, and how its delivery stands."""
    return await queries.NOTIFICATIONS.page(here.database, account_id, limit=paging.limit, cursor=paging.cursor)


@router.get("/config", response_model=Preferences)
async def preferences(here: Here, account_id: Account) -> Preferences:
    """Return the notification preferences, targets masked."""
    return _shown(await here.engine.row(account_id))


@router.put("/config", response_model=Preferences, responses=_PENDING)
async def change_preferences(issued: Issued, body: PreferencesChange) -> Any:
    """Change notification preferences and answer the new ones once they are in force."""
    command = UpdateNotifications(**issued.carries(), version=body.version, changes=changes_of(body))
    return await carry_out(issued, command, shown=lambda row, _: _shown(row))


@router.post("/test", response_model=Applied, responses=_PENDING)
async def send_test(issued: Issued, body: ChannelTest) -> Any:
    """Send a test message on a channel."""
    return await carry_out(issued, SendTestNotification(**issued.carries(), channel=body.channel))


def _shown(row: Portfolio) -> Preferences:
    """Return the preferences as they may be shown: targets masked."""
    return Preferences.model_validate(masked(row.preferences))


def changes_of(body: PreferencesChange) -> dict[str, Any]:
    """Return what a request changes; null removes a target, elsewhere it leaves things as they are."""
    sent = body.model_dump(mode="json", exclude_unset=True, exclude={"version"})
    changes = {name: value for name, value in sent.items() if value is not None or name in TARGETS}
    if "channels" in changes:
        changes["channels"] = {name: chosen for name, chosen in changes["channels"].items() if chosen is not None}
    return changes
