"""The body of a request, which comes whole and in time, or is answered with what is wrong with it."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import ClientPayloadError, web
from aiohttp.http import HttpProcessingError

from ectools.errors import InputError

_BODY_SECONDS = 10.0
_MAX_FIELDS = 64
_FORM = "application/x-www-form-urlencoded"


class TooLargeError(InputError):
    """The body is larger than any that is meant."""


async def read_json_body(request: web.Request) -> dict[str, Any]:
    """The object of the body; empty where there is no body. Raises InputError, and as ``read_body``."""
    raw = await read_body(request)
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError("the body is no JSON") from error
    if not isinstance(body, dict):
        raise InputError("the body is no JSON object")
    return body


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a form, each once. Raises InputError, and as ``read_body``."""
    if request.content_type != _FORM:
        raise InputError(f"the body is no form ({_FORM})")
    raw = await read_body(request)
    try:
        # Not by aiohttp's post(): what a stranger calls the charset would be looked up.
        fields = parse_qsl(
            raw.decode().strip(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise InputError(f"the body is no form of UTF-8 text, of at most {_MAX_FIELDS} fields") from error
    return dict(fields)


async def read_body(request: web.Request) -> bytes:
    """The body. Raises InputError where it cannot be read, TooLargeError, HTTPRequestTimeout where it does
    not come, and ConnectionError where the client has gone.
    """
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLargeError(
            f"what was sent is larger than {request.client_max_size >> 10} KiB", hint="shorten it"
        ) from error
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error
    except (HttpProcessingError, ClientPayloadError, web.RequestPayloadError) as error:
        raise InputError("the body is not encoded as its header says") from error
