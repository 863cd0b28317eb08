"""Errors as problem documents (RFC 9457), the same shape for every one, whoever found it.

`code` names the mistake for programs, `detail` says the mend to a person. A refused value is never repeated: it may be
a secret.
"""

import http
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE: Final = "application/problem+json"
LONGEST_PATH: Final = 200
MOST_MISTAKES: Final = 50


class FieldError(BaseModel):
    """One mistake in a request: where it is, and what is wrong."""

    path: str
    detail: str


class ProblemDocument(BaseModel):
    """What went wrong."""

    type: str = "about:blank"
    title: str = Field(description="the status in words")
    status: int
    code: str = Field(description="the mistake, for programs")
    detail: str = Field(description="the mend, for a person")
    errors: list[FieldError] | None = None
    command_id: str | None = Field(None, description="the command this is about: its idempotency key")


class Problem(Exception):
    """An error to answer with: a status, a code for programs and a sentence for a person."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] | None = None,
        command_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.headers = dict(headers or {})
        self.document = ProblemDocument(
            title=http.HTTPStatus(status).phrase,
            status=status,
            code=code,
            detail=detail,
            errors=list(errors) if errors is not None else None,
            command_id=command_id,
        )

    def response(self) -> JSONResponse:
        """Return the answer for this problem."""
        return JSONResponse(
            self.document.model_dump(exclude_none=True),
            status_code=self.document.status,
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


def not_found(what: str) -> Problem:
    """Return the problem of something that is not there."""
    return Problem(404, "not_found", f"there is no such {what}")


def away(what: str, mend: str) -> Problem:
    """Return the problem of a part of the stack that does not answer."""
    return Problem(503, f"{what}_unavailable", mend, headers={"Retry-After": "1"})


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the problems that a route may answer with."""
    return {
        status: {"model": ProblemDocument, "description": http.HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {}}}
        for status in (401, 403, 429, *statuses)
    }


def install(app: FastAPI) -> None:
    """Let the app answer every expected error with a problem document."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - as registered; narrows the type
    return error.response()


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as registered; narrows the type
    mistakes = [
        FieldError(path=".".join(map(str, each["loc"]))[:LONGEST_PATH], detail=each["msg"])
        for each in error.errors()[:MOST_MISTAKES]
    ]
    return Problem(422, "invalid_request", "the request is not as the API describes it", errors=mistakes).response()


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered; narrows the type
    phrase = http.HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    return Problem(error.status_code, code, error.detail, headers=error.headers).response()
