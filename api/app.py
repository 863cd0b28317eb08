"""The app: every route, behind the guard. `create_app(Parts.of(settings()))`, or with other parts in a test."""

from typing import Final

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer

from api import control, health, history, micro, notifications, problems, state
from api.guard import Guard
from api.parts import Parts

BEARER: Final = HTTPBearer(auto_error=False, description="one of the stack's tokens: viewer, operator or armer")
"""For the description alone: the guard has looked at the token before any route is found."""


def create_app(parts: Parts) -> FastAPI:
    """Return the app on its collaborators, which `api.parts.running` keeps connected."""
    app = FastAPI(
        title="Stonks Oracle",
        summary="An autonomous trading engine: its state, its history, and its controls",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.parts = parts
    problems.install(app)
    app.include_router(health.open_router)
    for each in (health, state, history, micro, control, notifications):
        app.include_router(each.router, dependencies=[Security(BEARER)])
    app.add_middleware(Guard, tokens=parts.tokens, rate_limit=parts.rate_limit, meters=parts.meters)
    return app
