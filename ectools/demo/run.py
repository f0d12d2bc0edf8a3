"""One boot, from the host description to the guest's mark, by the same steps as a user takes them."""

from __future__ import annotations

import json
import os
import secrets
import signal
import stat
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ectools import host
from ectools.demo.draw import Drawing, print_section
from ectools.demo.log_lines import follow_lines
from ectools.demo.payload import UP_MARK, Payload, build_payload, open_to_guest, stage_payload
from ectools.demo.run_directory import leave_run_directory, make_run_directory
from ectools.demo.stages import DemoStage, Timeline, find_remark, parse_record, recognise_stage
from ectools.errors import EcError, ProblemsError
from ectools.files import write_atomic
from ectools.processes import describe_exit, launch, stop

if TYPE_CHECKING:
    import subprocess

_OPTIONS = ("services", "every-channel", "ipxe-qemu")
_POLL_SECONDS = 0.05
_OPEN_PLACES = ("/tmp", "/var/tmp")  # noqa: S108 - mkdtemp(3) makes a directory of its own there
_STOP_SECONDS = 100.0
"""A little more than the runner takes to ask, to wait and to kill, with the default times."""


class DemoError(EcError):
    """The guest did not say that it is up."""


@dataclass(frozen=True, kw_only=True)
class DemoOutcome:
    """Seconds from the runner's start to each stage; with ``keep``, where the guest runs on."""

    stages: dict[str, float]
    directory: Path | None
    pid: int | None


def run_demo(*, payload: Path | None, keep: bool, timeout: float, stderr: TextIO) -> DemoOutcome:
    """Boot the embedded host and draw its stages on ``stderr``.

    ``payload`` is a directory with ``kernel`` and ``initrd``; None makes one from the distribution's
    packages. ``timeout`` is the boot's, in seconds. With ``keep`` the guest goes on running; else nothing is
    left. Raises DemoError, with the runner's last words, where the guest does not come up.
    """
    if payload is None:
        print_section(stderr, "payload", "a kernel and an initramfs from the distribution's packages, cached")
        parts = build_payload()
    else:
        parts = Payload.load(payload)
    with ExitStack() as undo:
        directory = make_run_directory(undo, place=_choose_place())
        mark = secrets.token_hex(8)
        stage_payload(parts, directory / "root", cmdline=f"ec.mark={mark}")
        config = _write_settings(directory, stderr=stderr)
        open_to_guest(directory, state=directory / "state", root=directory / "root")
        log = directory / "runner.log"
        argv = [sys.executable, "-m", "ectools.cli.main", "vm", "run", "--config", str(config)]
        print_section(stderr, "boot", "seconds a stage, and since the start")
        runner = _start_runner(argv, log, end_with_demo=not keep)
        undo.callback(stop, runner, term_seconds=_STOP_SECONDS)
        timeline = _watch(runner, log, mark=f"{UP_MARK} {mark}", timeout=timeout, drawing=Drawing(stderr))
        if keep:
            leave_run_directory(directory)
            undo.pop_all()
        else:
            _stop_runner(runner, stderr=stderr)
    return DemoOutcome(
        stages=timeline.by_name(),
        directory=directory if keep else None,
        pid=runner.pid if keep else None,
    )


def _write_settings(directory: Path, *, stderr: TextIO) -> Path:
    """The host description, shown, validated, and made into a NixOS module (shown) and a settings file."""
    text = resources.files(__package__).joinpath("host.toml").read_text("utf-8")
    # A JSON string is a TOML string.
    for name, value in {"@STATE@": directory / "state", "@ROOT@": directory / "root"}.items():
        text = text.replace(name, json.dumps(str(value)))
    print_section(stderr, "host description", "demo.toml", text)
    description = host.parse_host(text.encode(), file="demo.toml", form=host.HostFormat.TOML)
    if problems := host.validate_host(description):
        raise ProblemsError("demo.toml: the embedded host description is not valid", [*problems])
    print_section(
        stderr, "NixOS module", "what `ectools generate` makes of it", host.build_module(description)
    )
    options: dict[str, Any] = description.root.value
    for name in _OPTIONS:
        options = options[name]
    settings = {name: value for name, value in options.items() if name != "enable"}
    (directory / "state").mkdir()
    config = directory / "settings.json"
    write_atomic(config, json.dumps(settings, indent=2).encode() + b"\n")
    print_section(stderr, "settings", "valid; the same file that the NixOS module writes")
    return config


def _choose_place() -> Path:
    """The directory of temporary ones; for root, one that other users reach, since the guest runs as one."""
    chosen = Path(tempfile.gettempdir()).absolute()
    if os.geteuid() != 0:
        return chosen
    for place in (chosen, *map(Path, _OPEN_PLACES)):
        if place.is_dir() and all(each.stat().st_mode & stat.S_IXOTH for each in (place, *place.parents)):
            return place
    return chosen


def _start_runner(argv: list[str], log: Path, *, end_with_demo: bool) -> subprocess.Popen[bytes]:
    with log.open("xb") as stream:
        return launch(argv, stdout=stream, stderr=stream, end_with_parent=end_with_demo)


def _watch(
    runner: subprocess.Popen[bytes], log: Path, *, mark: str, timeout: float, drawing: Drawing
) -> Timeline:
    """Follow the log until the guest is up."""
    timeline, began = Timeline(), time.monotonic()
    records: list[dict[str, Any]] = []
    with log.open("rb") as stream:
        lines = follow_lines(stream)
        while timeline.next is not None:
            seconds = time.monotonic() - began
            # Asked before the log is read to its end, so that nothing said before the end is missed.
            ended = runner.poll()
            for record in map(parse_record, next(lines)):
                records.append(record)
                if (remark := find_remark(record)) is not None:
                    drawing.remark(remark)
                stage = recognise_stage(record, mark=mark)
                if stage is not None and timeline.note(stage, seconds):
                    drawing.reached(timeline, stage)
            if DemoStage.UP in timeline.reached:
                break
            if ended is not None or seconds > timeout:
                drawing.stopped(timeline)
                how = (
                    f"the runner ended: {describe_exit(ended)}"
                    if ended is not None
                    else f"{timeout:g} s went by"
                )
                raise DemoError(f"the guest did not come up: {how}\n{_show_tail(records)}")
            drawing.tick(timeline, seconds)
            time.sleep(_POLL_SECONDS)
    return timeline


def _show_tail(records: list[dict[str, Any]]) -> str:
    return "\n".join(f"  {_show(record)}" for record in records[-15:])


def _show(record: dict[str, Any]) -> str:
    match record:
        case {"event": "console", "line": str(line)}:
            return line
        case {"event": str(event), **rest} if not rest:
            return event
    return json.dumps(record)


def _stop_runner(runner: subprocess.Popen[bytes], *, stderr: TextIO) -> None:
    print_section(stderr, "stop", "asking the guest to power down")
    status = stop(runner, term_seconds=_STOP_SECONDS)
    if status not in (0, -signal.SIGTERM):
        raise DemoError(f"the guest came up, but the runner did not stop well: {describe_exit(status)}")
