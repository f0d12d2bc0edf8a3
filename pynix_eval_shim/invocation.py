"""The invocation of nix: program, store, settings, environment; nothing but ``call`` starts a process."""

from __future__ import annotations

import logging
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pynix_eval_shim import diagnosis, messages, process
from pynix_eval_shim.errors import NixMissingError, StoreUnavailableError
from pynix_eval_shim.limits import Limits
from pynix_eval_shim.source import PositionMap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pynix_eval_shim.process import Finished, Watch

log = logging.getLogger("pynix_eval_shim")
"""Where nix's warnings (WARNING) and what ``builtins.trace`` prints (INFO) go."""
log.addHandler(logging.NullHandler())

FEATURES = ("--extra-experimental-features", "nix-command flakes")
_LOGGING = ("--log-format", "internal-json", "--show-trace")
_FIRST_THAT_NAMES_BUILTINS = (2, 13)
_VERSION_LIMITS = Limits(seconds=60.0, output_bytes=1 << 16)


@dataclass(frozen=True, kw_only=True)
class Nix:
    """The nix to use, the same for any number of calls.

    ``program`` is a name on PATH or a path; ``nix-instantiate`` is taken from beside it. ``store`` is a store
    URL, None for the one that fits (see ``choose_store``). ``options`` are settings of nix.conf. ``env`` is
    the environment, None for this process's. ``offline`` keeps nix from asking any substituter.
    """

    program: str = "nix"
    store: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] | None = None
    offline: bool = False

    def find(self, tool: str) -> str:
        """The path of ``nix``, ``nix-instantiate`` or ``nix-store``. Raises NixMissingError."""
        environment = self.environment()
        found = shutil.which(self.program, path=environment.get("PATH"))
        if found is None:
            raise NixMissingError(
                f"{self.program}: program not found", hint="install nix, or put its directory on PATH"
            )
        # Absolute, because nix may be run in another directory.
        found = os.path.abspath(found)  # noqa: PTH100  (Path.resolve would follow the link, and lose its neighbour)
        if tool == "nix":
            return found
        beside = shutil.which(str(Path(found).with_name(tool)))
        on_path = shutil.which(tool, path=environment.get("PATH"))
        if beside is None and on_path is None:
            raise NixMissingError(f"{tool}: program not found, neither beside {found} nor on PATH")
        return str(beside or on_path)

    def environment(self) -> dict[str, str]:
        """The environment of the nix process."""
        environment = dict(os.environ if self.env is None else self.env)
        if os.geteuid() == 0 and not _group_exists("nixbld"):
            # Root without a daemon builds as itself. Put first, so that whatever NIX_CONFIG says still wins.
            environment["NIX_CONFIG"] = "build-users-group =\n" + environment.get("NIX_CONFIG", "")
        return environment


@dataclass(frozen=True, kw_only=True)
class Store:
    """The arguments that choose a store, and whether it can be written to."""

    arguments: tuple[str, ...] = ()
    writable: bool = True


def choose_store(nix: Nix, *, needed: bool) -> Store:
    """The store for a call; ``needed`` says that it must be one that can be written to.

    In this order: the one that ``nix`` or NIX_REMOTE names; the machine's own where this user may write to it
    or a daemon listens; else, where one is needed, a store of the user's own below XDG_DATA_HOME, where nix
    itself puts it; else ``dummy://``, which evaluates all that needs no store. Raises StoreUnavailableError.
    """
    environment = nix.environment()
    if nix.store is not None:
        return Store(arguments=("--store", nix.store), writable=not nix.store.startswith("dummy:"))
    if environment.get("NIX_REMOTE"):
        return Store()
    state = Path(environment.get("NIX_STATE_DIR") or "/nix/var/nix")
    daemon = Path(environment.get("NIX_DAEMON_SOCKET_PATH") or state / "daemon-socket/socket")
    if _may_write(state) or os.access(daemon, os.W_OK):
        return Store()
    if not needed:
        return Store(arguments=("--store", "dummy://"), writable=False)
    home = environment.get("XDG_DATA_HOME") or os.path.join(environment.get("HOME") or "/", ".local/share")  # noqa: PTH118  (a text, perhaps of no directory)
    own = Path(home) / "nix/root"
    if not _may_write(own):
        raise StoreUnavailableError(
            f"no daemon listens, and this user may neither write to {state} nor make a store at {own}",
            hint="start the nix daemon, or set HOME or XDG_DATA_HOME to a directory of the user's",
        )
    return Store(arguments=("--store", str(own)))


def _may_write(directory: Path) -> bool:
    """Whether ``directory`` could be written to, or made where it is missing."""
    # os.path's, to which what may not be looked at is not there: this user may not write above it either.
    paths = (directory, *directory.parents)
    existing = next((each for each in paths if os.path.exists(each)), Path("/"))  # noqa: PTH110
    return os.access(existing, os.W_OK | os.X_OK)


def _group_exists(name: str) -> bool:
    import grp

    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def settings(nix: Nix, **defaults: str) -> list[str]:
    """The arguments common to every call; ``defaults`` are settings that ``nix.options`` may override."""
    chosen = {name.replace("_", "-"): value for name, value in defaults.items()} | dict(nix.options)
    if nix.offline:
        chosen |= {"substitute": "false", "connect-timeout": "1", "download-attempts": "1"}
    arguments = [*FEATURES, *_LOGGING]
    for name, value in chosen.items():
        arguments += ("--option", name, value)
    return arguments


def call(
    nix: Nix,
    argv: Sequence[str],
    *,
    limits: Limits,
    stdin: str = "",
    sources: PositionMap | None = None,
    cwd: Path | None = None,
    ask_seconds: float = 0.0,
    watch: Watch | None = None,
    tell: Callable[[messages.NixMessage], None] | None = None,
) -> tuple[Finished, messages.Diagnostics]:
    """A nix that ended with status 0, and its diagnostics; warnings and notes go to ``tell``, or to the log.

    Raises the typed error (``diagnosis``) for any other status, and what ``process.run_nix`` raises.
    """
    finished = process.run_nix(
        argv,
        limits=limits,
        stdin=stdin.encode(),
        env=nix.environment(),
        cwd=cwd,
        ask_seconds=ask_seconds,
        watch=watch,
    )
    diagnostics = messages.parse_messages(finished.stderr, sources or PositionMap())
    if tell is not None:
        for message in diagnostics.said:
            tell(message)
    else:
        for warning in diagnostics.warnings:
            log.warning("%s", warning)
        for note in diagnostics.notes:
            log.info("%s", note)
    if finished.returncode != 0:
        raise diagnosis.diagnose(finished, diagnostics, names_builtins=lambda: _names_builtins(nix))
    return finished, diagnostics


def _names_builtins(nix: Nix) -> bool:
    return read_version(nix)[1] >= _FIRST_THAT_NAMES_BUILTINS


def read_version(nix: Nix) -> tuple[str, tuple[int, ...]]:
    """The first line of ``nix --version``, and the numbers that its last word begins with.

    Raises NixMissingError where there are none, or no such program; LimitError.
    """
    program = nix.find("nix")
    done = process.run_nix([program, "--version"], limits=_VERSION_LIMITS, env=nix.environment())
    output, diagnostics = (each.decode("utf-8", "replace").strip() for each in (done.stdout, done.stderr))
    line = output.partition("\n")[0]
    numbers = re.match(r"\d+(?:\.\d+)*", line.rpartition(" ")[2])
    if numbers is None:
        raise NixMissingError(f"{program}: does not tell its version, but: {line or diagnostics}")
    return line, tuple(int(part) for part in numbers[0].split("."))
