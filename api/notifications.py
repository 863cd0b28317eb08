"""Notifications (R19.8 to R19.10): what was told, to whom and about what, and how that is changed.

Phone numbers and addresses never leave: an answer shows their ends alone, and a target that comes back as it was shown
stays as it is.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends

from api import queries, rows
from api.bodies import ChannelTest, PreferencesChange
from api.control import Issued, carry_out
from api.history import Paged
from api.parts import Account, Here
from api.problems import Problem, answers
from api.states import Applied, PendingCommand, Preferences
from trading.inputs import SendTestNotification, UpdateNotifications
from trading.portfolio import Portfolio

MASK: Final = "****"
TARGETS: Final = ("sms_target", "email_target")

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
    return masked(preferences_of(await here.engine.row(account_id)))


async def _current(issued: Issued) -> Preferences:
    return preferences_of(await issued.parts.engine.row(issued.account_id))


@router.put("/config", response_model=Preferences, responses=_PENDING)
async def change_preferences(
    issued: Issued, body: PreferencesChange, current: Annotated[Preferences, Depends(_current)]
) -> Any:
    """Change notification preferences and answer the new ones once they are in force."""
    command = UpdateNotifications(**issued.carries(), version=body.version, changes=changes_of(body, current))
    return await carry_out(issued, command, shown=lambda row, _: masked(preferences_of(row)))


@router.post("/test", response_model=Applied, responses=_PENDING)
async def send_test(issued: Issued, body: ChannelTest) -> Any:
    """Send a test message on a channel."""
    return await carry_out(issued, SendTestNotification(**issued.carries(), channel=body.channel))


def preferences_of(row: Portfolio) -> Preferences:
    """Return the preferences that are in force, R19's defaults where the account has none of its own."""
    own = getattr(row, "preferences", None)
    return Preferences() if own is None else Preferences.model_validate(own.model_dump(mode="json"))


def masked(known: Preferences) -> Preferences:
    """Return the preferences as they may be shown."""
    return known.model_copy(update={name: mask(getattr(known, name)) for name in TARGETS})


def mask(target: str | None) -> str | None:
    """Return a target of which only the last four characters are shown, of a short one the last two."""
    return None if target is None else MASK + target[-4 if len(target) > 8 else -2 :]


def changes_of(body: PreferencesChange, current: Preferences) -> dict[str, Any]:
    """Return what a request changes; raise `Problem` 422 for a masked target that is not the one that was shown.

    What else a target may be is the engine's to say.
    """
    sent = body.model_dump(mode="json", exclude_unset=True, exclude={"version"})
    changes = {name: value for name, value in sent.items() if value is not None or name in TARGETS}
    if "channels" in changes:
        chosen = {name: value for name, value in changes["channels"].items() if value is not None}
        changes["channels"] = current.channels.model_dump() | chosen
    for name in TARGETS:
        target = changes.get(name)
        if target is not None and target == mask(getattr(current, name)):
            del changes[name]
        elif target is not None and MASK in target:
            raise Problem(422, "invalid_field", f"{name}: is masked, and is not the one that is set")
    return changes
