"""Without root, a daemon or a home directory; and with a daemon. Needs root, to become somebody else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.needs import give_up, require_tool

import pynix_eval_shim as shim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pynix_eval_shim import Nix

pytestmark = pytest.mark.nix

UID = 65534
DERIVATION = """{ system, script }: derivation {
  name = "built"; inherit system; builder = "/bin/sh"; args = [ "-c" script ];
}"""


@dataclass(frozen=True, kw_only=True)
class Nobody:
    """A user without rights, with a copy of the shim: the checkout may be closed to other users."""

    become: list[str]
    python: str
    directory: Path

    @property
    def home(self) -> Path:
        return self.directory / "home"

    def may_run(self, *argv: str) -> bool:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        done = subprocess.run([*self.become, *argv], env=environment, capture_output=True, check=False)
        return done.returncode == 0

    def run(self, code: str, nix: Nix, **environment: str) -> str:
        """What ``code`` prints, with the shim's names imported and NIX standing for ``nix``."""
        if not self.may_run(nix.program, "--version"):
            pytest.skip(f"{nix.program} stands in a directory that is closed to other users")
        same = f"Nix(program={nix.program!r}, options={dict(nix.options)!r}, offline=True)"
        program = "from pynix_eval_shim import *\n" + textwrap.dedent(code).replace("NIX", same)
        done = subprocess.run(
            [*self.become, self.python, "-c", program],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def nobody() -> Iterator[Nobody]:
    if os.geteuid() != 0:
        give_up("only root can become another user")
    setpriv = require_tool("setpriv", "install util-linux")
    become = [setpriv, f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs"]
    # Not in a directory of pytest's, which other users may not enter.
    with tempfile.TemporaryDirectory(prefix="shim-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        shutil.copytree(Path(shim.__file__).parent, directory / "pynix_eval_shim")
        (directory / "home").mkdir()
        os.chown(directory / "home", UID, UID)
        for python in (sys.executable, "/usr/bin/python3"):
            user = Nobody(become=become, python=python, directory=directory)
            if user.may_run(python, "-c", ""):
                break
        else:
            give_up("no python3 that every user may run; install python3")
        yield user


def test_expressions_need_nothing(nobody: Nobody, nix: Nix) -> None:
    code = """
        data = {"text": "${x}" * 100_000, "float": 0.1, "list": [1, None]}
        assert evaluate("data: data", data=data, nix=NIX) == data
        parse("x: x", nix=NIX)
        drv = 'derivation { name = "a"; system = "s"; builder = "b"; }'
        print(evaluate(f"({drv}).drvPath", nix=NIX))
    """
    assert nobody.run(code, nix).endswith("-a.drv")


def test_a_flake_without_a_home_says_what_is_missing(nobody: Nobody, nix: Nix) -> None:
    code = """
        try:
            evaluate(installable="path:/nowhere#x", nix=NIX)
        except StoreUnavailableError as error:
            print(error.hint)
    """
    assert "HOME" in nobody.run(code, nix)


def test_a_flake_in_a_store_of_the_users_own(nobody: Nobody, nix: Nix) -> None:
    code = """
        from pathlib import Path
        flake = Path.home() / "flake"
        flake.mkdir()
        (flake / "flake.nix").write_text("{ outputs = _: { value = 0.1; }; }")
        print(evaluate(installable=f"path:{flake}#value", nix=NIX))
        print(flake_check(flake, no_build=True, nix=NIX).warnings)
    """
    assert nobody.run(code, nix, HOME=str(nobody.home)).startswith("0.1\n")
    assert Path(nobody.home, ".local/share/nix/root/nix/store").is_dir()


def test_a_build_in_a_store_elsewhere(nobody: Nobody, nix: Nix) -> None:
    # Building for /nix in a directory of one's own takes a sandbox, which not every kernel grants.
    code = f"""
        from dataclasses import replace
        there = "{nobody.home}/elsewhere"
        nix = replace(NIX, store=f"local?store={{there}}/store&state={{there}}/state&log={{there}}/log")
        nix = replace(nix, options={{"sandbox": "false"}})
        data = {{"system": probe(nix=nix).system, "script": "echo ok > $out"}}
        print(open(build({DERIVATION!r}, data=data, nix=nix)[0].outputs["out"]).read())
    """
    assert nobody.run(code, nix, HOME=str(nobody.home)) == "ok"


def test_through_a_daemon(nobody: Nobody, nix: Nix) -> None:
    daemon = require_tool("nix-daemon", "install nix (Debian: nix-bin)")
    directory = nobody.directory / "daemon"
    directory.mkdir()
    places = {f"NIX_{name.upper()}_DIR": str(directory / name) for name in ("store", "state", "log")}
    settings = {"NIX_CONFIG": "build-users-group =\nsandbox = false\nsubstituters =\n"}
    with subprocess.Popen(
        [daemon], env={**os.environ, **places, **settings}, stderr=subprocess.DEVNULL
    ) as server:
        try:
            listening = directory / "state/daemon-socket/socket"
            deadline = time.monotonic() + 30
            while not listening.exists():
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            code = f"""
                data = {{"system": probe(nix=NIX).system, "script": "echo ok > $out"}}
                print(open(build({DERIVATION!r}, data=data, nix=NIX)[0].outputs["out"]).read().strip())
                try:
                    build({DERIVATION!r}, data={{**data, "script": "echo its last words; exit 1"}}, nix=NIX)
                except BuildFailedError as error:
                    print(*error.log)
            """
            said = nobody.run(code, nix, HOME=str(nobody.home), **places)
        finally:
            server.kill()
    assert said.splitlines() == ["ok", "its last words"]
