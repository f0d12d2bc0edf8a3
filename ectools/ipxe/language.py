"""Lines of an iPXE script: commands and what joins them, options, labels, URIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTOEXEC_NAME = "autoexec.ipxe"
"""What a UEFI iPXE looks for in the directory that it came from (https://ipxe.org/howto/dhcpd)."""
NETBOOT_NAME = "netboot.ipxe"
"""What NixOS calls the boot script of a netboot output, and this project the second stage."""

# Options that take a value, of the commands that are gone through; all others are flags.
_VALUED = frozenset(
    {
        *("--name", "-n", "--timeout", "-t", "--params", "-p", "--key", "-k"),
        *("--menu", "-m", "--default", "-d", "--set", "-s"),
    }
)


def find_labels(lines: list[str]) -> dict[str, int]:
    """Label → the number of its line, from 0; the first of a name counts."""
    labels: dict[str, int] = {}
    for number, line in enumerate(lines):
        words = line.split()
        if words and words[0].startswith(":") and len(words[0]) > 1:
            labels.setdefault(words[0][1:], number)
    return labels


def split_commands(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    """(what joins it to those before it, the command's words); a comment ends the line.

    ``chain … ||`` at a line's end is a command of no words, which does nothing and succeeds.
    """
    joint, command = "", list[str]()
    for word in words:
        if word.startswith("#"):
            break
        if word in ("||", "&&"):
            yield joint, command
            joint, command = word, []
        else:
            command.append(word)
    yield joint, command


def split_options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options up to the first word that is none, and the rest."""
    options: dict[str, str] = {}
    at = 0
    while at < len(words) and words[at].startswith("-") and len(words[at]) > 1:
        name, equals, value = words[at].partition("=")
        at += 1
        if name == "--":
            break
        if not equals and name in _VALUED and at < len(words):
            value = words[at]
            at += 1
        options[name] = value
    return options, words[at:]


def join_uri(base: str, uri: str) -> str:
    """``uri`` as seen from ``base``, for any scheme."""
    if "://" in uri:
        return uri
    scheme, _, rest = base.partition("://")
    host, _, path = rest.partition("/")
    if uri.startswith("/"):
        return f"{scheme}://{host}{uri}"
    directory = path.partition("?")[0].rpartition("/")[0]
    return f"{scheme}://{host}/{directory}/{uri}" if directory else f"{scheme}://{host}/{uri}"


def name_image(uri: str) -> str:
    """The name that an image has by default: the last part of its path."""
    return uri.rpartition("/")[2].partition("?")[0]
