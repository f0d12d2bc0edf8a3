"""Types of host descriptions, as the compilers of a program that uses them see them: mypy and tsc."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.npm_packages import find_npm_package

PYTHON = """\
from host_types import HostDescription, ServicesEveryChannelNetboot

right: HostDescription = {
    "services": {"every-channel": {"netboot": {"listenIP": "192.0.2.1", "tftp": {"maxTransfers": 64}}}}
}
name: HostDescription = {"services": {"every-channel": {"netbot": {}}}}  # wrong
port: ServicesEveryChannelNetboot = {"listenIP": "192.0.2.1", "httpPort": "80"}  # wrong
missing: ServicesEveryChannelNetboot = {"httpPort": 80}  # wrong
choice: ServicesEveryChannelNetboot = {"listenIP": "192.0.2.1", "ipxe": {"binary": "x"}}  # wrong
"""
TYPESCRIPT = """\
import type { HostDescription, ServicesEveryChannelNetboot } from "./host_types";

export const right: HostDescription = {
  services: { "every-channel": { netboot: { listenIP: "192.0.2.1", tftp: { maxTransfers: 64 } } } },
};
export const name: HostDescription = { services: { "every-channel": { netbot: {} } } }; // wrong
export const port: ServicesEveryChannelNetboot = { listenIP: "192.0.2.1", httpPort: "80" }; // wrong
export const missing: ServicesEveryChannelNetboot = { httpPort: 80 }; // wrong
export const choice: ServicesEveryChannelNetboot = { listenIP: "", ipxe: { binary: "x" } }; // wrong
"""


def write_types(directory: Path, language: str, name: str, path: str) -> None:
    argv = [sys.executable, "-m", "ectools.cli.main", "schema", "types", f"--{language}", "-o", name]
    subprocess.run(argv, cwd=directory, env={**os.environ, "PATH": path}, check=True, timeout=120)


def find_wrong(program: str) -> list[int]:
    """The lines that say that they are wrong, from 1."""
    return [number for number, line in enumerate(program.splitlines(), 1) if line.endswith(" wrong")]


def test_mypy(tmp_path: Path) -> None:
    write_types(tmp_path, "python", "host_types.py", os.environ["PATH"])
    (tmp_path / "program.py").write_text(PYTHON)
    argv = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache", "program.py"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.stderr == ""
    found = re.findall(r"(?m)^(\S+):(\d+): error", done.stdout)
    assert sorted(found) == sorted(("program.py", str(line)) for line in find_wrong(PYTHON)), done.stdout


@pytest.mark.full
def test_tsc(tmp_path: Path) -> None:
    generator = find_npm_package("json-schema-to-typescript", "16.0.0") / "node_modules/.bin"
    compiler = find_npm_package("typescript", "5.9.3") / "node_modules/.bin/tsc"
    write_types(tmp_path, "typescript", "host_types.ts", f"{generator}:{os.environ['PATH']}")
    (tmp_path / "program.ts").write_text(TYPESCRIPT)
    argv = [compiler, "--strict", "--noEmit", "--pretty", "false", "program.ts"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    found = re.findall(r"(?m)^(\S+)\((\d+),\d+\): error", done.stdout)
    assert sorted(found) == sorted(("program.ts", str(line)) for line in find_wrong(TYPESCRIPT)), done.stdout
