"""What Nix has built, for a machine's /nix: the closure, and the Python packages of the product."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from support.needs import give_up

from ectools.processes import ProcessError, run


@dataclass(frozen=True)
class Store:
    """What stands at /nix of a machine, a directory and an ext4 disk: ``store``, ``python``, ``files``."""

    directory: Path
    disk: Path


def build_store(
    directory: Path,
    paths: Iterable[Path],
    nix_env: Mapping[str, str],
    *,
    files: Mapping[str, Path] | None = None,
) -> Store:
    """The closure of store paths, and the Python packages that the product needs, for a machine's /nix.

    ``files``: further ones, by their names in /nix/files.
    """
    nix = Path(tempfile.mkdtemp(prefix="nix-", dir=directory))
    nix.chmod(0o755)
    (nix / "store").mkdir()
    query = subprocess.run(
        ["nix-store", "--query", "--requisites", *map(str, paths)],
        env=dict(nix_env),
        capture_output=True,
        text=True,
        check=True,
    )
    closure = query.stdout.split()
    run(["cp", "--archive", "--reflink=auto", *closure, str(nix / "store")], timeout=300)
    _copy_python(nix / "python")
    (nix / "files").mkdir()
    for name, source in (files or {}).items():
        shutil.copyfile(source, nix / "files" / name)
    # As nixpkgs' real packages have it: the store cannot be written to when a program starts.
    sources = [str(path) for path in nix.glob("store/*-source")]
    if sources:
        run(["chmod", "--recursive", "u+w", *sources])
        compiler = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
        run(["/usr/bin/python3", *compiler, *sources], timeout=300)
    disk = nix.with_suffix(".ext4")
    pack_disk(nix, disk, spare_mib=8)
    return Store(nix, disk)


def build_product_store(directory: Path, *, files: Mapping[str, Path] | None = None) -> Store:
    """The product as this checkout has it, with the packages that it needs, for a container's /nix.

    It has no disk. ``files``: further ones, by their names in /nix/files.
    """
    nix = directory / "nix"
    nix.mkdir()
    _copy_python(nix / "python")
    root = Path(__file__).parents[2]
    without_caches = shutil.ignore_patterns("__pycache__")
    for name in ("ectools", "pynix_eval_shim"):
        shutil.copytree(root / name, nix / "python" / name, ignore=without_caches)
    shutil.copytree(root / "schemas", nix / "python/ectools/_schemas")
    (nix / "files").mkdir()
    for name, source in (files or {}).items():
        shutil.copyfile(source, nix / "files" / name)
    return Store(nix, nix.with_suffix(".ext4"))


def _copy_python(target: Path) -> None:
    """This environment's packages that ``ectools`` depends on, but for itself: that comes from the store.

    Ends the test where the system's Python, the one that a unit can see, is of another version.
    """
    try:
        version = run(["/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2])"]).stdout.split()
    except ProcessError:
        give_up("/usr/bin/python3 does not run, and a unit sees no Python below /home and /root")
    if version != [str(part) for part in sys.version_info[:2]]:
        give_up(f"/usr/bin/python3 is {'.'.join(version)}, and the tests run with another version")
    target.mkdir()
    for name in sorted(_find_requirements("ectools") - {"ectools"}):
        distribution = importlib.metadata.distribution(name)
        for top in {
            file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")
        }:
            source = Path(str(distribution.locate_file(top)))
            if source.is_dir():
                shutil.copytree(source, target / top, dirs_exist_ok=True)
            elif source.is_file():
                shutil.copy2(source, target / top)


def _find_requirements(name: str, found: frozenset[str] = frozenset()) -> frozenset[str]:
    """A distribution and all that it requires without extras, by normalised name."""
    found |= {re.sub(r"[-_.]+", "-", name).lower()}
    for line in importlib.metadata.requires(name) or []:
        requirement, _, marker = line.partition(";")
        wanted = re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0]
        if "extra" in marker or re.sub(r"[-_.]+", "-", wanted).lower() in found:
            continue
        try:
            found = _find_requirements(wanted, found)
        except importlib.metadata.PackageNotFoundError:
            continue  # a marker for another Python or another system
    return found


def pack_disk(directory: Path, disk: Path, *, spare_mib: int) -> None:
    """Make an ext4 file system of a directory, with room to write."""
    used = int(run(["du", "--summarize", "--block-size=1M", str(directory)], timeout=300).stdout.split()[0])
    with disk.open("wb") as file:
        file.truncate((used + used // 8 + spare_mib) << 20)
    # No journal: nobody mounts it again after a crash.
    features = "^has_journal,^metadata_csum"
    run(["mkfs.ext4", "-q", "-O", features, "-m", "0", "-d", str(directory), str(disk)], timeout=600)
