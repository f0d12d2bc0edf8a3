"""The checkout's files: copied, so that no fault is ever made in the checkout, and hashed, for the cache."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path


def list_files(root: Path) -> list[str]:
    """What git knows of or would add and is there, relative to the root of a checkout and sorted."""
    argv = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    out = subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout.decode()
    return sorted(name for name in set(out.split("\0")) if name and (root / name).is_file())


def copy_files(root: Path, files: list[str], target: Path) -> None:
    """Copy files into a new directory, with their times: Python's compiled files know their source by it.

    No hard links: a test or a fault that writes in place would write into the checkout.
    """
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name, follow_symlinks=False)


def hash_files(root: Path, files: list[str], *words: str) -> str:
    """A digest of some files' names and contents, of the interpreter, of what measures, and of ``words``."""
    digest = hashlib.sha256("\0".join((sys.version, *words, "")).encode())
    for path in (*(root / name for name in files), *sorted(Path(__file__).parent.glob("*.py"))):
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def copy_tree(base: Path, target: Path) -> None:
    """A copy of a copy, with what Python has compiled in it."""
    shutil.copytree(base, target, symlinks=True)


def write_fault(tree: Path, path: str, text: str) -> None:
    """Put a fault into a copy, and remove what was compiled from the file without it.

    A compiled file counts as fresh while its source's time, in whole seconds, and size are the same.
    """
    file = tree / path
    file.write_text(text, encoding="utf-8")
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
        compiled.unlink()
