"""Staging killed anywhere, and on disks that fill up anywhere: ``current`` is always a whole release."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.kernels import system_files
from support.needs import give_up, require_tool
from support.releases import build_settings, check_whole, release_files, snapshot, write_archive

from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.rollback import roll_back
from ectools.netboot.release.stage import stage
from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KILLS = 100
NAMES = ("one", "two", "three")


@pytest.fixture
def archives(tmp_path: Path) -> dict[str, Path]:
    """Archives of many small files, so that there is much to be killed in the middle of."""
    found = {}
    for name in NAMES:
        files = {
            **release_files(name),
            **{f"extra/{number}": f"{name} {number}".encode() for number in range(10)},
        }
        found[name] = write_archive(tmp_path, files, f"{name}.tar.gz")
    return found


def stage_argv(archive: Path, state: Path) -> list[str]:
    argv = [sys.executable, "-m", "ectools.cli.main", "netboot", "stage", "--tarball", str(archive)]
    return [*argv, "--state-dir", str(state), "--keep", "0"]


def test_killed_at_a_hundred_random_points(archives: dict[str, Path], tmp_path: Path) -> None:
    state = tmp_path / "state"
    subprocess.run(stage_argv(archives["one"], state), check=True, capture_output=True)
    rng = random.Random(4)
    killed, window = 0, 0.1
    for archive in itertools.cycle(archives.values()):
        with subprocess.Popen(stage_argv(archive, state), stderr=subprocess.PIPE) as child:
            assert child.stderr
            # Python has started, and the work begins.
            assert any(b"staging" in line for line in child.stderr)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(rng.uniform(0, window))
            child.kill()
        assert child.returncode in (0, -signal.SIGKILL)
        # About one in five ends before it is killed: so the points reach up to the end, on any machine.
        window *= 1.05 if child.returncode else 0.8
        assert check_whole(state) is not None
        previous = ReleaseStore(state).find_previous()
        assert previous is None or ReleaseStore(state).find(previous.id)
        killed += child.returncode != 0
        if killed == KILLS:
            break
    subprocess.run(stage_argv(archives["two"], state), check=True, capture_output=True)
    release = check_whole(state)
    assert release is not None
    assert release.systems[0].source.endswith("two.tar.gz")
    assert os.listdir(state / ".staging") == []
    assert len(os.listdir(state / "releases")) <= 2


def die_at(number: int, below: Path, act: Callable[[], object]) -> bool:
    """Run ``act`` in a child that is killed right before its ``number``-th operation on a path in ``below``.

    False: it ended before that. Python tells an audit hook of each operation before it happens.
    """
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            if event.startswith(("os.", "open", "shutil.")) and any(
                isinstance(each, str | Path) and str(each).startswith(str(below)) for each in arguments
            ):
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def prepare(archives: dict[str, list[str]], state: Path) -> tuple[str, str]:
    """``one`` is previous, ``two`` is current."""
    return (
        stage(build_settings(state, release_tarball=archives["one"])).release.id,
        stage(build_settings(state, release_tarball=archives["two"])).release.id,
    )


@pytest.fixture
def small_archives(tmp_path: Path) -> dict[str, Path]:
    return {name: write_archive(tmp_path, release_files(name), f"{name}.tar.gz") for name in NAMES}


@pytest.fixture(params=["one system", "several systems"])
def small_releases(
    request: pytest.FixtureRequest, small_archives: dict[str, Path], tmp_path: Path
) -> dict[str, list[str]]:
    """The archives of each release."""
    if request.param == "one system":
        return {name: [str(path)] for name, path in small_archives.items()}
    return {
        name: [
            str(write_archive(tmp_path, system_files(each, name), f"{each}-netboot-{name}.tar.gz"))
            for each in (KernelArchitecture.X86_64, KernelArchitecture.AARCH64)
        ]
        for name in NAMES
    }


def test_killed_before_each_operation_of_a_staging(
    small_releases: dict[str, list[str]], tmp_path: Path
) -> None:
    template, state = tmp_path / "template", tmp_path / "state"
    one, two = prepare(small_releases, template)
    settings = build_settings(state, release_tarball=small_releases["three"], release_keep=0)
    seen = set()
    for number in range(1, 1000):
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(template, state, symlinks=True)
        died = die_at(number, state, lambda: stage(settings))
        release = check_whole(state)
        assert release is not None
        links = [ReleaseStore(state).find_link_id(name) for name in ("current", "previous")]
        seen.add(tuple(links))
        # Whoever comes next finishes, or begins anew.
        three = stage(settings).release
        assert check_whole(state) == three
        assert ReleaseStore(state).find_link_id("previous") == two
        assert set(ReleaseStore(state).list_ids()) == {two, three.id}
        assert os.listdir(state / ".staging") == os.listdir(state / ".changing") == []
        if not died:
            break
    assert not died
    assert number > 30
    # Before, between and after the two links changed.
    assert seen == {(two, one), (two, two), (three.id, two)}


def test_killed_before_each_operation_of_a_rollback(small_archives: dict[str, Path], tmp_path: Path) -> None:
    template, state = tmp_path / "template", tmp_path / "state"
    one, two = prepare({name: [str(path)] for name, path in small_archives.items()}, template)
    seen = set()
    for number in range(1, 1000):
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(template, state, symlinks=True)
        store = ReleaseStore(state)
        died = die_at(number, state, lambda store=store: roll_back(store))  # type: ignore[misc]
        release = check_whole(state)
        assert release is not None
        seen.add((release.id, store.find_link_id("previous")))
        with store.lock():
            from ectools.netboot.release.activation import recover

            recover(store)
        assert (store.find_link_id("current"), store.find_link_id("previous")) in {(one, two), (two, one)}
        if not died:
            break
    assert not died
    assert seen == {(two, one), (two, two), (one, two)}


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Callable[[str], None]]:
    """A tmpfs at ``place``; what is yielded changes its mount options."""
    if os.geteuid() != 0:
        give_up("only root can mount a small file system")
    mount = require_tool("mount", "it is part of util-linux")
    place.mkdir()
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        give_up(f"no tmpfs can be mounted here: {done.stderr.strip()}")

    def remount(options: str) -> None:
        subprocess.run([mount, "-o", f"remount,{options}", place], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", place], check=True)


def try_to_stage(archive: Path, state: Path) -> None:
    """Fail for want of space, in words, and leave all as it was."""
    before = snapshot(state)
    done = subprocess.run(stage_argv(archive, state), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert check_whole(state) is not None
    assert snapshot(state) == before


def test_a_disk_that_fills_at_twenty_points(tmp_path: Path) -> None:
    one = write_archive(tmp_path, release_files("one", size=100_000), "one.tar.gz")
    two = write_archive(tmp_path, release_files("two", size=400_000), "two.tar.gz")
    with small_disk(tmp_path / "disk") as remount:
        state = tmp_path / "disk" / "state"
        stage(build_settings(state, release_tarball=str(one)))
        usage = os.statvfs(state)
        used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
        for step in range(20):
            remount(f"size={used + step * 40_000}")
            try_to_stage(two, state)
        remount("size=64m")
        second = stage(build_settings(state, release_tarball=str(two))).release
        assert check_whole(state) == second


def test_a_disk_without_room_for_another_file(small_archives: dict[str, Path], tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as remount:
        state = tmp_path / "disk" / "state"
        stage(build_settings(state, release_tarball=str(small_archives["one"])))
        usage = os.statvfs(state)
        # A tree, its three files, its record and its temporary name, a directory and links to swap.
        for more in range(5):
            remount(f"nr_inodes={usage.f_files - usage.f_ffree + more}")
            try_to_stage(small_archives["two"], state)
        remount("nr_inodes=10000")
        second = stage(build_settings(state, release_tarball=str(small_archives["two"]))).release
        assert check_whole(state) == second
