"""What is put into a script, checked: what is spliced in unchecked could be a command.

iPXE splits a line at blanks, then expands ``${…}`` in each word, and again in what came of that.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from ectools.errors import EcError
from ectools.ipxe.language import is_argument, is_file_name
from ectools.ipxe.urls import URL


class ScriptError(EcError):
    """Something cannot stand in a boot script; the message names it."""


def check_base_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = URL.fullmatch(url) is not None and parts.port != 0
    except ValueError:
        fits = False
    if not fits or parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ScriptError(
            f"{url!r} is no URL that a boot script can name", hint="http://192.0.2.10:8080 is one"
        )
    if "?" in url or "#" in url:
        raise ScriptError(f"{url!r}: a base URL has no query and no fragment: files' paths are put after it")
    return url


def check_file_name(name: str) -> str:
    if not is_file_name(name):
        raise ScriptError(
            f"{name!r}: a boot script cannot name this file",
            hint="files that are booted have names of letters, digits and . _ -",
        )
    return name


def check_kernel_argument(argument: str) -> str:
    if not is_argument(argument):
        raise ScriptError(
            f"{argument!r}: a boot script cannot hold this argument of the kernel",
            hint="printable ASCII without blanks, with ${cmdline} and the like at most",
        )
    return argument
