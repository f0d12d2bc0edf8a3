"""Images that are built again, in another year and on one core: each of their steps yields the same bytes."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.needs import require_root
from support.nixos_build import BUILD_SECONDS

if TYPE_CHECKING:
    from support.nixos_build import Flake

pytestmark = [pytest.mark.nix, pytest.mark.full, pytest.mark.timeout(3600)]

IMAGES = {
    "ec-runner-x86_64": "toplevel",
    "ec-runner-x86_64-iso": "isoImage",
    "ec-runner-x86_64-netboot": "netboot",
}

# What is made of many packages or of the kernel; all else is a package, or a file that Nix writes itself.
STEPS = re.compile(
    r"-(closure-info|ec-runner-.*|efi-.*|etc|extra-utils|firmware|initrd|initrd-linux|isolinux.*|kernel-modules.*"
    r"|linux-.*-kept|netboot\.ipxe|nixos-system-.*|squashfs\.img|stage-1-init.*|system-path)\.drv$"
)

# The tables of a GPT, before and behind what it divides (UEFI specification, 5.3). xorriso makes them of a
# disk's GUID, which nixpkgs makes of the image's store path; without a sandbox, Nix checks at another path.
SECTOR, TABLE_SECTORS = 512, 64

# $1: a library that every program is to load, where no other process sees it; then a command.
_PRELOADED = """
set -e
preloaded=$1
shift
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /etc
echo "$preloaded" > /etc/ld.so.preload
exec "$@"
"""


@dataclass(frozen=True)
class OtherClock:
    """Runs commands, and what they build, in another year. ``library``: other_clock.c, compiled."""

    library: Path

    def wrap(self, argv: list[str]) -> list[str]:
        unshare = ["unshare", "--mount", "--propagation", "private"]
        return [*unshare, "sh", "-c", _PRELOADED, "sh", str(self.library), *argv]


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str, str], str]) -> OtherClock:
    require_root("another clock is put before the builders in a mount namespace")
    library = tmp_path_factory.mktemp("clock") / "other_clock.so"
    compiler = require_tool("cc", "install a C compiler (Debian: gcc)")
    source = Path(__file__).with_name("other_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return OtherClock(library)


def test_a_builder_sees_the_other_clock(flake: Flake, clock: OtherClock, tmp_path: Path) -> None:
    """Without this, that images are the same would say nothing of clocks."""
    pkgs = f'(builtins.getFlake "path:{flake.nixpkgs}").legacyPackages.x86_64-linux'
    # Of another name each time, so that it is built.
    expression = f'{pkgs}.runCommand "{tmp_path.parent.name}-{time.time_ns()}" {{ }} "date +%s > $out"'
    before = time.time()
    argv = clock.wrap(["nix-build", "--no-out-link", "--expr", expression])
    built = int(Path(_run(argv, flake).stdout.strip()).read_text())
    assert built > before + 400 * 24 * 60 * 60


@pytest.mark.parametrize("name", IMAGES)
def test_each_step_of_an_image_is_the_same_again(
    name: str, flake: Flake, clock: OtherClock, tmp_path: Path
) -> None:
    attribute = f"nixosConfigurations.{name}.config.system.build.{IMAGES[name]}"
    image = flake.build(attribute)
    derivation = flake.evaluate(f"{attribute}.drvPath")
    steps = list_steps(flake, derivation)
    assert derivation in steps
    assert len(steps) > 5
    # Of what differs, Nix keeps the directory in which it was built.
    flake = replace(flake, env={**flake.env, "TMPDIR": str(tmp_path)})
    different = {step for step in steps if not is_same(flake, step, clock, keep=step == derivation)}
    if IMAGES[name] == "isoImage" and different == {derivation}:
        again = image.with_name(f"{image.name}.check")
        (first,), (second,) = (list((each / "iso").glob("*.iso")) for each in (image, again))
        outside = find_differences(first, second)
        _run(["rm", "-rf", str(again)], flake)
        assert outside == [], f"bytes that differ outside of the partition tables: {outside[:20]}"
    else:
        assert different == set()


def list_steps(flake: Flake, derivation: str) -> list[str]:
    """The derivations that ``STEPS`` names, below that of an image."""
    closure = _run(["nix-store", "--query", "--requisites", derivation], flake).stdout.split()
    return [each for each in closure if STEPS.search(each)]


def is_same(flake: Flake, derivation: str, clock: OtherClock, *, keep: bool) -> bool:
    """Whether it builds the same by another clock. ``keep``: what differs stays beside it, ``PATH.check``."""
    _run(["nix-store", "--realise", derivation], flake)
    argv = ["nix-store", "--realise", "--check", "--cores", "1", derivation]
    done = _run(clock.wrap([*argv, *(["--keep-failed"] if keep else [])]), flake, check=False)
    assert done.returncode == 0 or "may not be deterministic" in done.stderr, done.stderr[-3000:]
    return done.returncode == 0


def find_differences(first: Path, second: Path) -> list[int]:
    """The offsets of bytes that differ, without those in partition tables."""
    size = first.stat().st_size
    assert second.stat().st_size == size
    table = SECTOR * TABLE_SECTORS
    done = subprocess.run(["cmp", "-l", first, second], capture_output=True, text=True, check=False)
    offsets = [int(line.split()[0]) - 1 for line in done.stdout.splitlines()]
    return [offset for offset in offsets if table <= offset < size - table]


def _run(argv: list[str], flake: Flake, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, env=dict(flake.env), capture_output=True, text=True, timeout=BUILD_SECONDS, check=check
    )
