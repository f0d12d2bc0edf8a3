"""Answers in JSON, and errors as answers: one place that knows which error is which status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ectools.errors import EcError, InputError, ProblemsError
from ectools.netboot.api.bodies import TooLargeError
from ectools.netboot.api.guesses import TooManyTriesError
from ectools.netboot.api.hosts import WrongHostError
from ectools.netboot.api.rights import ForbiddenError
from ectools.netboot.fleet.live import ContradictionError, UnknownNodeError
from ectools.netboot.rollout.refusals import RolloutConflictError, UnknownRolloutError
from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Middleware

    from ectools.timers import Guard

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
"""Of every answer: what is true now, and of nobody else's concern."""
_RETRY_SECONDS = 5
_HUNG_UP = 499  # which no client reads


class AbsentError(EcError):
    """There is nothing of that name."""


def answer_json(value: Any, *, status: int = 200) -> web.Response:
    """A value as JSON, on one line."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
    return web.Response(status=status, body=body, content_type="application/json")


def answer_error(error: EcError) -> web.Response:
    """An error as ``{error, hint, problems}``, with its status."""
    problems = [each.render() for each in error.problems] if isinstance(error, ProblemsError) else []
    answer = answer_json(
        {"error": error.message, "hint": error.hint, "problems": problems}, status=find_status(error)
    )
    if isinstance(error, TooManyTriesError):
        answer.headers["Retry-After"] = str(error.seconds)
    elif isinstance(error, StateError):
        answer.headers["Retry-After"] = str(_RETRY_SECONDS)
    return answer


def find_status(error: EcError) -> int:
    """The status of an error (RFC 9110, section 15.5)."""
    statuses: tuple[tuple[type[EcError], int], ...] = (
        (ForbiddenError, 403),
        (WrongHostError, 421),
        (TooLargeError, 413),
        (TooManyTriesError, 429),
        (UnknownNodeError, 404),
        (UnknownRolloutError, 404),
        (AbsentError, 404),
        (ContradictionError, 409),
        (RolloutConflictError, 409),
        (StateError, 503),
        (InputError, 400),
    )
    return next((status for kind, status in statuses if isinstance(error, kind)), 500)


def make_error_answers(guard: Guard) -> Middleware:
    """Every error is an answer, in JSON below ``/api/``; ``guard`` is told of a fault of this program."""

    @web.middleware
    async def answer_errors(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return _answer_refusal(request, error)
        except EcError as error:
            return answer_error(error)
        except TimeoutError:
            return answer_error(StateError("that took too long", hint="come again in a moment"))
        except Exception as error:
            if isinstance(error, ConnectionError) and has_hung_up(request):
                # There is nobody to answer; aiohttp finds that out by itself, and says nothing of it.
                return web.Response(status=_HUNG_UP)
            guard.report(error)
            return answer_error(EcError("a fault of the server"))

    return answer_errors


def has_hung_up(request: web.BaseRequest) -> bool:
    """Whether the client of a request has gone, which is no error."""
    return request.transport is None or request.transport.is_closing()


def _answer_refusal(request: web.Request, error: web.HTTPException) -> web.Response:
    if not request.path.startswith("/api/"):
        return _answer_text(error)
    answer = answer_json({"error": error.reason, "hint": None, "problems": []}, status=error.status)
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


def _answer_text(error: web.HTTPException) -> web.Response:
    words = error.reason
    if error.status == web.HTTPNotFound.status_code:
        words = "not found; there are /metrics, /healthz and /api/v1/nodes"
    kept = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    return web.Response(status=error.status, text=f"{words}\n", headers=kept)


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """What every answer has; where a handler has set one of them, that one stays."""
    response.headers["Server"] = "ectools"  # aiohttp has put its own name and version there
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
