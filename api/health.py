"""Is it up, is it ready, and what does it count: for supervisors and monitoring."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.parts import Here
from api.problems import answers
from api.states import Health, Ready

open_router = APIRouter(tags=["health"])
router = APIRouter(tags=["health"])


@open_router.get("/health")
async def health() -> Health:
    """Answer while the API does."""
    return Health()


@open_router.get(
    "/ready", response_model=Ready, responses={503: {"model": Ready, "description": "something required is missing"}}
)
async def ready(here: Here, response: Response) -> dict[str, object]:
    """Tell whether a record produced to any input topic from now on is processed; the body is the same either way."""
    found = await here.doctor.readiness()
    response.status_code = 200 if found.ready else 503
    return {"ready": found.ready, "checks": [vars(check) for check in found.checks]}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **answers()},
)
async def metrics(here: Here) -> Response:
    """Return what the API counts, in Prometheus's text format."""
    return Response(here.meters.exposition(), media_type=CONTENT_TYPE_LATEST)
