"""``build`` and ``flake_check``: derivations and flakes, with events while they are built."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pynix_eval_shim import invocation
from pynix_eval_shim.errors import NixError, Report
from pynix_eval_shim.evaluation import NO_DATA, Target, compose, not_an_option, override, search_path
from pynix_eval_shim.invocation import Nix
from pynix_eval_shim.limits import BUILD_LIMITS, Limits
from pynix_eval_shim.messages import Follower
from pynix_eval_shim.process import ASK_SECONDS, Watch

if TYPE_CHECKING:
    import os
    import threading
    from collections.abc import Callable, Mapping

    from pynix_eval_shim.messages import BuildEvent, BuildProgress


@dataclass(frozen=True, kw_only=True)
class Built:
    """What was built. ``outputs`` maps an output's name to its path; ``drv`` is None for a plain path."""

    drv: str | None
    outputs: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class FlakeCheck:
    """A flake that passed, with what nix warned of (systems that it left out, above all)."""

    warnings: tuple[str, ...]


def build(
    expression: str | None = None,
    *,
    file: str | os.PathLike[str] | None = None,
    installable: str | None = None,
    data: Any = NO_DATA,
    impure: bool = False,
    out_link: str | os.PathLike[str] | None = None,
    nix_path: Mapping[str, str] | None = None,
    override_inputs: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    on_event: Callable[[BuildEvent], None] | None = None,
    on_progress: Callable[[BuildProgress], None] | None = None,
    stop: threading.Event | None = None,
    limits: Limits = BUILD_LIMITS,
    nix: Nix | None = None,
) -> tuple[Built, ...]:
    """The outputs of a derivation, or of every derivation of a set, which are built where they have to be.

    The target and ``data`` are as in ``evaluate``; an expression or a file is evaluated impurely, and
    ``data`` goes with those only. No link is made, and so nothing is kept from the next collection, unless
    ``out_link`` names one. ``on_event`` is called for each build that begins and for each line of its log as
    it is written, ``on_progress`` each time that another is built or copied; what they raise ends the build.
    ``stop`` ends it from another thread, with StoppedError. Raises BuildFailedError,
    MissingSystemFeatureError, and any other NixError.
    """
    nix = nix or Nix()
    place = Path(cwd) if cwd is not None else None
    path = None if file is None else (place or Path.cwd()).absolute() / file
    target = Target(expression=expression, file=path, installable=installable)
    argv = [nix.find("nix"), "build", "--json", "--no-write-lock-file"]
    argv += ["--no-link"] if out_link is None else ["--out-link", str(out_link)]
    argv += invocation.choose_store(nix, needed=True).arguments
    argv += [
        *search_path(nix_path),
        *invocation.settings(nix, eval_cache="false"),
        *override(override_inputs),
    ]
    text, sources = "", None
    if target.installable is not None:
        if data is not NO_DATA:
            raise TypeError("data= needs an expression or file=")
        argv += [*(["--impure"] if impure else []), target.installable]
    else:
        text, code, sources = compose(target, None, data)
        argv += [*code, "--file", "-"]
    finished, diagnostics = invocation.call(
        nix,
        argv,
        limits=limits,
        stdin=text,
        sources=sources,
        cwd=place,
        ask_seconds=ASK_SECONDS,
        watch=Watch(on_stderr=_follow(on_event, on_progress), stop=stop),
    )
    try:
        return tuple(_built(item) for item in json.loads(finished.stdout))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        report = Report(argv=finished.argv, stderr=diagnostics.text)
        raise NixError(
            f"nix build wrote what cannot be understood: {finished.stdout[:200]!r}", report=report
        ) from error


def _follow(
    on_event: Callable[[BuildEvent], None] | None, on_progress: Callable[[BuildProgress], None] | None
) -> Callable[[bytes], None] | None:
    """What reads standard error for the two listeners; None where there is neither."""
    if on_event is None and on_progress is None:
        return None
    return Follower(on_event or (lambda _event: None), progress=on_progress).feed


def _built(item: Any) -> Built:
    """One entry of `nix build --json`: a derivation with outputs, or a path that needed no build."""
    if isinstance(item, str):
        return Built(drv=None, outputs={"out": item})
    if "drvPath" not in item:
        return Built(drv=None, outputs={"out": item["path"]})
    return Built(drv=item["drvPath"], outputs={name: path for name, path in item["outputs"].items() if path})


def flake_check(
    path: str | os.PathLike[str],
    *,
    override_inputs: Mapping[str, str] | None = None,
    no_build: bool = False,
    all_systems: bool = False,
    impure: bool = False,
    limits: Limits = BUILD_LIMITS,
    nix: Nix | None = None,
) -> FlakeCheck:
    """The result of ``nix flake check`` on a directory or a reference; its lock file is not touched.

    ``no_build`` evaluates the checks and does not build them. ``all_systems`` takes in those that this
    machine cannot build; versions before 2.14 take them in always. Raises the typed error of the first thing
    that failed.
    """
    nix = nix or Nix()
    argv = [nix.find("nix"), "flake", "check", not_an_option(str(path)), "--no-write-lock-file"]
    argv += ["--no-build"] if no_build else []
    argv += ["--impure"] if impure else []
    argv += invocation.choose_store(nix, needed=True).arguments
    argv += [*invocation.settings(nix, eval_cache="false"), *override(override_inputs)]

    def check(*flags: str) -> FlakeCheck:
        _, diagnostics = invocation.call(nix, [*argv, *flags], limits=limits, ask_seconds=ASK_SECONDS)
        return FlakeCheck(warnings=tuple(diagnostics.warnings))

    if not all_systems:
        return check()
    try:
        return check("--all-systems")
    except NixError as error:
        if "unrecognised flag '--all-systems'" not in error.message:
            raise
        return check()
