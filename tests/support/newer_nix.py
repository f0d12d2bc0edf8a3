"""A nix newer than the one of Debian 12, beside it: the next Debian's, unpacked into a directory of its own.

Nothing is installed: an apt whose lists and state lie in that directory downloads the packages from the
machine's own mirrors, with the suite's name changed; they are unpacked there, and each program is started
through its own loader with its own libraries. The directory is in ``$EC_CACHE``, or in the repository's
``.cache``; ``$EC_NEWER_NIX`` names a nix to use instead.

Run as a program, it prints the path of that nix.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTED, NEWER = "bookworm", "trixie"
SUITES = {TESTED, f"{TESTED}-updates", f"{TESTED}-security"}
PROGRAMS = ("nix", "nix-build", "nix-instantiate", "nix-store")


class Unavailable(Exception):  # noqa: N818  (it is a reason to skip, not an error)
    """Why there is no newer nix here. ``expected`` where nothing on the machine is at fault."""

    def __init__(self, reason: str, *, expected: bool = False) -> None:
        super().__init__(reason)
        self.expected = expected


def find_newer_nix() -> Path:
    """The newer nix, made where it is missing. Raises Unavailable."""
    given = os.environ.get("EC_NEWER_NIX")
    if given:
        return Path(given)
    release = Path("/etc/os-release")
    if not release.is_file() or f"VERSION_CODENAME={TESTED}\n" not in release.read_text():
        raise Unavailable(
            f"only on Debian {TESTED} is a newer nix unpacked beside the system's; set EC_NEWER_NIX",
            expected=True,
        )
    cache = Path(os.environ.get("EC_CACHE") or ROOT / ".cache")
    directory = cache / f"nix-of-{NEWER}"
    if not (directory / "bin/nix").exists():
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f"nix-of-{NEWER}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (directory / "bin/nix").exists():
                _make(directory)
    return directory / "bin/nix"


def _make(directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="nix-", dir=directory.parent) as name:
        work = Path(name)
        tree = work / "tree"
        tree.mkdir()
        for package in _download(work):
            _run(["dpkg-deb", "--extract", str(package), str(tree)])
        shutil.rmtree(directory, ignore_errors=True)
        tree.rename(directory)
    loader = next(directory.glob("usr/lib*/ld-linux-*.so.*"), None) or next(
        directory.glob("usr/lib/*/ld-linux-*.so.*")
    )
    libraries = next(path.parent for path in directory.glob("usr/lib/*/libc.so.6"))
    (directory / "bin").mkdir()
    for program in reversed(PROGRAMS):
        script = directory / "bin" / program
        # NIX_BIN_DIR: nix looks for its helpers there instead of where the system's nix has them.
        script.write_text(
            "#!/bin/sh\n"
            f"NIX_BIN_DIR='{directory}/bin'; export NIX_BIN_DIR\n"
            f"exec '{loader}' --argv0 {program} --library-path '{libraries}'"
            f" '{directory}/usr/bin/nix' \"$@\"\n"
        )
        script.chmod(0o755)


def _download(work: Path) -> list[Path]:
    """nix-bin of the newer suite and all that it depends on, as package files."""
    for part in ("lists/partial", "cache/archives/partial"):
        (work / part).mkdir(parents=True)
    (work / "status").touch()
    (work / "newer.list").write_text("\n".join(_sources()) + "\n")
    options = {
        "Dir::Etc::sourcelist": work / "newer.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": work,
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "1",
    }
    apt = ["apt-get", "--quiet=2", *(f"--option={name}={value}" for name, value in options.items())]
    _run([*apt, "update"])
    _run([*apt, "--yes", "--no-install-recommends", "--download-only", "install", "nix-bin"])
    packages = sorted((work / "cache/archives").glob("*.deb"))
    if not any(package.name.startswith("nix-bin_") for package in packages):
        raise Unavailable("apt downloaded no nix-bin")
    return packages


def _sources() -> list[str]:
    """The machine's own sources of Debian itself, as one-line entries, with the newer suite's name."""
    etc = Path("/etc/apt")
    entries: list[str] = []
    for path in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))):
        if path.suffix == ".list" and path.is_file():
            for line in path.read_text().splitlines():
                match = re.match(r"deb\s+(\[[^]]*\]\s+)?\S+\s+(\S+)\s", line.strip())
                if match is not None and match[2] in SUITES:
                    entries.append(line.strip().replace(match[2], match[2].replace(TESTED, NEWER)))
        elif path.suffix == ".sources" and path.is_file():
            entries += [
                line for stanza in path.read_text().split("\n\n") for line in _one_line_entries(stanza)
            ]
    if not entries:
        raise Unavailable(f"no source of Debian {TESTED} is configured in {etc}")
    return entries


def _one_line_entries(stanza: str) -> list[str]:
    fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
    if "deb" not in fields.get("Types", "").split() or fields.get("Enabled", "yes") != "yes":
        return []
    signed = f"[signed-by={fields['Signed-By']}] " if fields.get("Signed-By", "").startswith("/") else ""
    return [
        f"deb {signed}{uri} {suite.replace(TESTED, NEWER)} {fields.get('Components', '')}"
        for uri in fields.get("URIs", "").split()
        for suite in fields.get("Suites", "").split()
        if suite in SUITES
    ]


def _run(argv: list[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{argv[0]}: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(argv[:1] + argv[-2:])}: {done.stderr.strip()}")


if __name__ == "__main__":
    try:
        print(find_newer_nix())
    except Unavailable as reason:
        sys.exit(f"no newer nix: {reason}")
