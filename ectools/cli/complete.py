"""Values that a shell completes: what this machine, this checkout or a state directory has.

They are looked up while somebody waits with a finger on the key: each is a directory's listing or a system
call, and what cannot be looked up is nothing.
"""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.shell_completion import CompletionItem

from ectools.errors import EcError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import click

    Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_MAX_RECORD = 1 << 20
_NO_TESTS = {"default", "eval-systems"}


def complete_file(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The shell's own completion of files."""
    return [CompletionItem(incomplete, type="file")]


def complete_directory(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The shell's own completion of directories."""
    return [CompletionItem(incomplete, type="dir")]


def complete_words(*words: str) -> Completer:
    """The words that an option may have whose value is checked elsewhere."""

    def complete(
        _context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _choose(incomplete, dict.fromkeys(words))

    return complete


def complete_interface(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """This machine's network interfaces."""
    with contextlib.suppress(OSError):
        return _choose(incomplete, {name: None for _, name in socket.if_nameindex()})
    return []


def complete_schema(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The schemas of this project; files for a value that has a slash."""
    from ectools.schemas import schema_names

    if "/" in incomplete or incomplete.startswith("."):
        return complete_file(context, parameter, incomplete)
    return _choose(incomplete, dict.fromkeys(schema_names()))


def complete_vm_test(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The VM tests of a flake in a directory: its files in ``nix/tests``. Others would take an evaluation."""
    flake = str(context.params.get("flake") or ".").removeprefix("path:")
    files = sorted(Path(flake, "nix/tests").glob("*.nix"))
    return _choose(incomplete, {path.stem: None for path in files if path.stem not in _NO_TESTS})


def complete_architecture(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The numbers of client architectures, with their names."""
    from ectools.netboot.protocols import load_protocols

    return _choose(incomplete, {str(each.number): each.name for each in load_protocols().architectures})


def complete_release(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The ids of the releases that are staged, with their tags: of ``--state-dir``, else of the settings."""
    found = {}
    with contextlib.suppress(OSError, EcError, ValueError):
        releases = _find_state_dir(context.params) / "releases"
        for record in sorted(releases.glob("sha256-*/release.json")):
            found[record.parent.name] = _read_tag(record)
    return _choose(incomplete, found)


def _find_state_dir(given: Mapping[str, Any]) -> Path:
    from ectools.netboot.settings.model import NETBOOT_CONFIG
    from ectools.schemas import load_schema
    from ectools.settings_file import read_settings_file

    if given.get("state_dir"):
        return Path(given["state_dir"])
    config = Path(given.get("config") or NETBOOT_CONFIG)
    schema = load_schema("ec-netboot", checked=False)
    if config.is_file():
        found = read_settings_file(config, schema).document.get("stateDir")
        if isinstance(found, str):
            return Path(found)
    return Path(schema.document["properties"]["stateDir"]["default"])


def _read_tag(record: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        read = json.loads(record.read_bytes()[:_MAX_RECORD])
        match read:
            case {"tag": str(tag)}:
                return tag
    return None


def _choose(incomplete: str, words: Mapping[str, str | None]) -> list[CompletionItem]:
    """Those that begin so. A shell takes a line for a word."""
    return [
        CompletionItem(word, help=help_line)
        for word, help_line in words.items()
        if word.startswith(incomplete) and word.isprintable()
    ]
