"""The closures of NixOS systems → a static binary cache, as ``nix copy`` writes it to a directory.

It stands in a release as ``cache/``: ``nix-cache-info``, a ``.narinfo`` for each store path, signed, and its
content below ``nar/``, named by its hash (https://nix.dev/manual/nix/latest/protocols/binary-cache). So a
node that was installed takes its system from the boot host by stock Nix (``substituters``, ``nix copy``).
``roots.txt`` has the systems' own store paths, one a line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from ectools import log
from ectools.errors import EcError, InputError
from ectools.netboot.kernel import KernelArchitecture
from ectools.processes import ProcessError, find_program, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_log = log.Log(__name__)

CACHE_NAME = "cache"
"""The directory of the cache in a release's archive."""
ROOTS_NAME = "roots.txt"
_CONTENT = re.compile(rf"{CACHE_NAME}/nar/[^/]+")
_OF_ANY_SYSTEM = re.compile(rf"{CACHE_NAME}/(nix-cache-info|[^/]+\.narinfo|nar/[^/]+)")
# The text of a toplevel's file ``system``: the platform that it is for.
_PLATFORMS = {"x86_64-linux": KernelArchitecture.X86_64, "aarch64-linux": KernelArchitecture.AARCH64}
_HINT = "name what `nix build .#nixosConfigurations.NAME.config.system.build.toplevel` makes"


class BinaryCacheError(EcError):
    """A closure cannot be copied; the message has what Nix said."""


def is_cached_content(name: str) -> bool:
    """Whether a file of an archive is a store path's content in the cache: its name is its hash."""
    return _CONTENT.fullmatch(name) is not None


def is_cache_of_any_system(name: str) -> bool:
    """Whether a file of the cache means the same, whichever of a release's systems it came with."""
    return _OF_ANY_SYSTEM.fullmatch(name) is not None


def find_platforms(systems: Sequence[Path]) -> dict[KernelArchitecture, list[Path]]:
    """The store paths of NixOS systems, links followed, by what they run on. Raises InputError for others."""
    found: dict[KernelArchitecture, list[Path]] = {}
    for system in systems:
        path = system.resolve()
        try:
            text = (path / "system").read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise InputError(f"{system}: is no NixOS system: it has no file `system`", hint=_HINT) from error
        platform = _PLATFORMS.get(text)
        if platform is None:
            raise InputError(
                f"{system}: is for {text!r}; a release's systems are for {' or '.join(_PLATFORMS)}"
            )
        paths = found.setdefault(platform, [])
        if path not in paths:
            paths.append(path)
    return found


def write_binary_cache(systems: Sequence[Path], to: Path, *, key_file: Path) -> Mapping[str, Path]:
    """The cache of the systems' closures in the directory ``to``: name in the archive → file.

    ``key_file`` is the secret key that `nix key generate-secret` makes; Nix alone reads it. A closure of
    gigabytes takes minutes. Raises BinaryCacheError, ProgramMissingError where there is no Nix.
    """
    if not key_file.is_file():
        raise InputError(f"{key_file}: there is no such file", hint="`nix key generate-secret` makes a key")
    nix = find_program("nix", hint="a closure is copied by Nix: pack where the system was built")
    _log.info("copying closures into the release's binary cache", systems=[str(path) for path in systems])
    options = urlencode(
        {"compression": "zstd", "secret-key": str(key_file.resolve())}, quote_via=quote, safe="/"
    )
    # Its working directory: some versions decode a path in a URL and some do not, and it may have any name.
    url = f"file:///proc/self/cwd?{options}"
    argv = [nix, "--extra-experimental-features", "nix-command", "copy", "--to", url, *map(str, systems)]
    try:
        run(argv, cwd=to)
    except ProcessError as error:
        raise BinaryCacheError(
            f"{', '.join(map(str, systems))}: cannot be copied: {error.stderr.strip() or error.message}"
        ) from error
    roots = to / ROOTS_NAME
    roots.write_text("".join(f"{path}\n" for path in sorted(map(str, systems))), encoding="utf-8")
    return {
        f"{CACHE_NAME}/{path.relative_to(to).as_posix()}": path
        for path in sorted(to.rglob("*"))
        if path.is_file()
    }
