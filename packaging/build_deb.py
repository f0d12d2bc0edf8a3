"""A Debian package of the toolkit: ``python packaging/build_deb.py [DIRECTORY]`` writes its path.

A virtual environment in /usr/lib/ectools, with the dependencies as their index has them, and two programs in
/usr/bin. Its Python is the system's, so it is for the Debian release that it is built on. By dpkg-deb, which
every Debian has, of a tree that pip fills: dh-virtualenv would bring a build system for the same, and nfpm
knows nothing of Python. Nothing is enabled: `ectools service install` makes the units of the settings.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = Path("usr/lib/ectools")
PYTHON = "/usr/bin/python3"
PROGRAMS = {"ectools": "run_ectools", "every-channel-ipxe-qemu": "run_ipxe_qemu"}
LAUNCHER = """#!/{home}/bin/python3 -I
import sys

from ectools.cli.entry import {function}

sys.exit({function}())
"""
CONTROL = """\
Package: ectools
Version: {version}
Architecture: {architecture}
Maintainer: every.channel <packages@every.channel>
Section: net
Priority: optional
Homepage: https://every.channel
Depends: python3 (>= {minor}), python3 (<< {next_minor}), dnsmasq-base
Recommends: ipxe, nftables
Suggests: qemu-system-x86, qemu-utils
Description: boot server for machines that boot over the network
 Stages releases from a Forgejo and serves them over HTTP, TFTP and ProxyDHCP;
 runs a QEMU guest that boots over iPXE; checks host descriptions and makes
 NixOS modules of them. Services are installed by "ectools service install".
"""


def run(*argv: str) -> str:
    """Standard output of a program, which must not fail."""
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def find_python_version() -> tuple[int, int]:
    """Of the system's Python, which the package's programs run with."""
    major, minor = run(PYTHON, "-c", "import sys; print(*sys.version_info[:2])").split()
    return int(major), int(minor)


def fill_tree(tree: Path, version: tuple[int, int]) -> None:
    """The files of the package below ``tree``."""
    home = tree / HOME
    (home / "bin").mkdir(parents=True)
    (home / "bin/python3").symlink_to(PYTHON)
    # What makes a directory a virtual environment (the module venv, "How venvs work").
    (home / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version[0]}.{version[1]}\n"
    )
    packages = home / f"lib/python{version[0]}.{version[1]}/site-packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--target", str(packages), str(ROOT))
    # Programs of pip's making, with this machine's Python in their first line.
    shutil.rmtree(packages / "bin", ignore_errors=True)
    (tree / "usr/bin").mkdir(parents=True)
    for name, function in PROGRAMS.items():
        program = tree / "usr/bin" / name
        program.write_text(LAUNCHER.format(home=HOME, function=function))
        program.chmod(0o755)
    documents = tree / "usr/share/doc/ectools"
    shutil.copytree(ROOT / "examples", documents / "examples")
    shutil.copyfile(ROOT / "LICENSE", documents / "copyright")


def build(directory: Path) -> Path:
    """The package in ``directory``."""
    version = find_python_version()
    if version != sys.version_info[:2]:
        sys.exit(
            f"build_deb.py: {PYTHON} is {version[0]}.{version[1]}, and this is another Python: use that one"
        )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work) / "tree"
        tree.mkdir(mode=0o755)
        fill_tree(tree, version)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(
            CONTROL.format(
                version=project["version"],
                architecture=run("dpkg", "--print-architecture"),
                minor=f"{version[0]}.{version[1]}",
                next_minor=f"{version[0]}.{version[1] + 1}",
            )
        )
        # Whoever builds it may have a umask of their own.
        run("chmod", "--recursive", "u=rwX,go=rX", str(tree))
        directory.mkdir(parents=True, exist_ok=True)
        built = run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(directory))
    # dpkg-deb: building package 'ectools' in 'PATH'.
    return Path(built.rpartition(" in ")[2].strip("'."))


def main() -> None:
    """Parse the command line, and print the package's path."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", nargs="?", type=Path, default=ROOT / "dist", help="where it is put")
    sys.stdout.write(f"{build(parser.parse_args().directory)}\n")


if __name__ == "__main__":
    main()
