"""A release of several systems: staged as one, under one id, from archives of this machine and of a forge."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from support.fetching import RETRY, fetch
from support.forge import API, DOWNLOADS, Forge
from support.kernels import system_files
from support.releases import (
    build_settings,
    build_tar,
    check_whole,
    compress,
    release_files,
    snapshot,
    write_archive,
)

from ectools.archive.decompress import ArchiveError
from ectools.errors import EcError, InputError
from ectools.files import FileError
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release import reuse
from ectools.netboot.release.checksums import ChecksumsError
from ectools.netboot.release.forge import ForgeError
from ectools.netboot.release.manifest import build_id, describe_release, parse_manifest, render_manifest
from ectools.netboot.release.rollback import roll_back
from ectools.netboot.release.source import find_source
from ectools.netboot.release.stage import Staged, StageOutcome, stage
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.release.verify import check_staged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

X86_64, AARCH64 = KernelArchitecture.X86_64, KernelArchitecture.AARCH64
FIRST, SECOND = "ec-runner-aarch64-netboot", "ec-runner-x86_64-netboot"
ARM, PC = f"{FIRST}-boot-v1.tar.gz", f"{SECOND}-boot-v1.tar.gz"


def write(directory: Path, text: str = "one", **more: Mapping[str, bytes]) -> list[str]:
    """Both archives, with their paths in the order in which an operator may type them."""
    files = {PC: system_files(X86_64, text), ARM: system_files(AARCH64, text), **more}
    return [str(write_archive(directory, content, name)) for name, content in files.items()]


def run(state_dir: Path, tarballs: list[str], **flags: Any) -> Staged:
    return stage(build_settings(state_dir, release_tarball=tarballs, **flags))


def test_each_system_has_a_directory_of_its_own(tmp_path: Path) -> None:
    state = tmp_path / "state"
    staged = run(state, write(tmp_path))
    release = check_whole(state)
    assert release == staged.release
    assert {each.name: each.architecture for each in release.systems} == {FIRST: AARCH64, SECOND: X86_64}
    assert set(release.files) == {f"{name}/{file}" for name in (FIRST, SECOND) for file in release_files()}
    for system, architecture in zip(release.systems, (AARCH64, X86_64), strict=True):
        for file, data in system_files(architecture).items():
            assert (state / "current" / system.name / file).read_bytes() == data
        assert system.boot.kernel == f"{system.name}/kernel"
        assert system.boot.initrds == (f"{system.name}/initrd",)
        directory = state / "current" / system.name
        modes = [path.stat().st_mode & 0o777 for path in (directory, directory / "kernel")]
        assert modes == [0o755, 0o644]
    record = json.loads((state / "current" / "release.json").read_bytes())
    assert (record["format"], record["id"]) == (2, build_id(release.files))
    assert record["systems"][SECOND]["architecture"] == "x86_64"
    assert record["systems"][SECOND]["archive_name"] == PC
    assert "boot" not in record


def test_the_id_does_not_depend_on_the_order_of_the_archives(tmp_path: Path) -> None:
    tarballs = write(tmp_path)
    releases = [
        run(tmp_path / str(number), list(order)).release
        for number, order in enumerate(itertools.permutations(tarballs))
    ]
    assert len({release.id for release in releases}) == 1
    assert releases[0].systems == releases[1].systems
    state = tmp_path / "0"
    assert run(state, tarballs[::-1]).outcome is StageOutcome.UNCHANGED


@pytest.mark.parametrize("architecture", [X86_64, AARCH64])
def test_one_system_stands_as_it_always_did(architecture: KernelArchitecture, tmp_path: Path) -> None:
    """The same id, the same names, and a record that the program before this one reads."""
    files = system_files(architecture)
    archive = write_archive(tmp_path, files, f"ec-runner-{architecture}-netboot-boot-v1.tar.gz")
    release = run(tmp_path / "state", [str(archive)]).release
    listing = [[name, len(data), hashlib.sha256(data).hexdigest()] for name, data in sorted(files.items())]
    text = json.dumps(listing, separators=(",", ":"))
    assert release.id == f"sha256-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    assert set(release.files) == set(files)
    record = json.loads(render_manifest(release))
    assert (record["format"], record["architecture"], "systems" in record) == (1, architecture, False)
    assert record["boot"]["kernel"] == "kernel"
    assert record["archive_name"] == archive.name
    # Programs are told of it as of several.
    assert set(describe_release(release)["systems"]) == {f"ec-runner-{architecture}-netboot"}


def test_a_record_without_an_architecture_is_what_its_kernel_is(tmp_path: Path) -> None:
    """As the program before this one has written it."""
    archive = write_archive(tmp_path, system_files(AARCH64), ARM)
    state = tmp_path / "state"
    release = run(state, [str(archive)]).release
    path = state / "releases" / release.id / "release.json"
    record = json.loads(path.read_bytes())
    del record["architecture"]
    path.write_text(json.dumps(record))
    assert parse_manifest(path.read_bytes(), where="there").systems[0].architecture is None
    assert ReleaseStore(state).find_current() == release
    (path.parent / "kernel").unlink()
    found = ReleaseStore(state).find_current()
    assert found is not None
    assert found.systems[0].architecture is None


def test_going_back_is_one_step_for_all_systems(tmp_path: Path) -> None:
    state = tmp_path / "state"
    one = run(state, write(tmp_path)).release
    both = run(state, write(tmp_path, "two")).release
    alone = run(state, write(tmp_path, "three")[:1]).release
    assert roll_back(ReleaseStore(state)).current == both
    assert check_whole(state) == both
    assert ReleaseStore(state).find_previous() == alone
    assert {each.id for each in ReleaseStore(state).list_releases()} == {one.id, both.id, alone.id}


def test_damage_of_one_system_is_found_and_mended(tmp_path: Path) -> None:
    state = tmp_path / "state"
    tarballs = write(tmp_path)
    release = run(state, tarballs).release
    store = ReleaseStore(state)
    shutil.rmtree(store.directory(release.id) / FIRST)
    (store.directory(release.id) / SECOND / "stray").touch()
    damage = {each.name: each.fault for each in check_staged(store, release.id).damage}
    assert set(damage) == {f"{FIRST}/{name}" for name in release_files()} | {f"{SECOND}/stray"}
    assert run(state, tarballs).outcome is StageOutcome.UNCHANGED
    assert [each.name for each in check_staged(store, release.id).damage] == [f"{SECOND}/stray"]


def refuse(tmp_path: Path, tarballs: list[str], kind: type[EcError], words: str, **flags: Any) -> EcError:
    """Staging fails in these words, and what was current stays so."""
    state = tmp_path / "state"
    apart = tmp_path / "apart"
    apart.mkdir(exist_ok=True)
    run(state, [str(write_archive(apart, release_files("zero")))])
    before = snapshot(state)
    with pytest.raises(kind, match=words) as caught:
        run(state, tarballs, **flags)
    assert snapshot(state) == before
    return caught.value


def test_a_name_that_lies_is_refused_with_both(tmp_path: Path) -> None:
    lie = write_archive(tmp_path, system_files(AARCH64), PC)
    words = rf"^{PC}: is called an archive for x86_64, and its kernel kernel is for aarch64$"
    refuse(tmp_path, [str(lie)], ArchiveError, words)
    # A name that says nothing, and a kernel that says nothing, are no lies.
    write_archive(tmp_path, system_files(AARCH64), "release.tar.gz")
    assert run(tmp_path / "a", [str(tmp_path / "release.tar.gz")]).release.systems[0].architecture is AARCH64
    write_archive(tmp_path, release_files(), PC)
    assert run(tmp_path / "b", [str(tmp_path / PC)]).release.systems[0].architecture is None


def test_a_kernel_that_says_nothing_stands_alone(tmp_path: Path) -> None:
    tarballs = write(tmp_path, **{ARM: release_files()})
    words = rf"^{ARM}: what its kernel {FIRST}/kernel runs on cannot be told, and beside other systems "
    refuse(tmp_path, tarballs, ArchiveError, words)


def test_two_archives_of_one_system(tmp_path: Path) -> None:
    other = f"{SECOND}-other.tar.xz"
    tarballs = write(tmp_path, **{other: system_files(X86_64)})
    words = rf"^{PC} and {other}: both are of the system {SECOND}$"
    refuse(tmp_path, tarballs, InputError, words)


def test_a_name_that_no_directory_can_have(tmp_path: Path) -> None:
    tarballs = write(tmp_path, **{"a b.tar.gz": system_files(X86_64)})
    refuse(tmp_path, tarballs, InputError, r"^a b\.tar\.gz: 'a b' cannot be the name of a system$")


def test_the_systems_that_are_wanted_must_be_given(tmp_path: Path) -> None:
    tarballs = write(tmp_path)
    words = rf"^release\.systems: other: no archive given is of it; given are {PC} \({SECOND}\), {ARM}"
    refuse(tmp_path, tarballs, InputError, words, release_systems=[FIRST, "other"])
    assert len(run(tmp_path / "state", tarballs, release_systems=[FIRST]).release.systems) == 2


def test_the_limits_are_of_all_archives_together(tmp_path: Path) -> None:
    names = len(release_files())
    tarballs = write(tmp_path)
    refuse(tmp_path, tarballs, ArchiveError, rf"^{PC}: it has more than", release_maxFiles=2 * names - 1)
    assert run(tmp_path / "enough", tarballs, release_maxFiles=2 * names)
    large = {**system_files(AARCH64), "initrd": os.urandom(600_000)}
    tarballs = write(tmp_path, **{ARM: large, PC: {**large, **system_files(X86_64), "more": large["initrd"]}})
    refuse(tmp_path, tarballs, ArchiveError, rf"^{PC}: ", release_maxUnpackedMiB=1)
    assert run(tmp_path / "enough", tarballs, release_maxUnpackedMiB=2)


def test_one_sum_that_does_not_match_stages_nothing(tmp_path: Path) -> None:
    tarballs = write(tmp_path)
    sums = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in (ARM, PC)}
    text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    (tmp_path / "SHA256SUMS.txt").write_text(text)
    assert run(tmp_path / "good", tarballs, release_requireSums=True).outcome is StageOutcome.STAGED
    (tmp_path / "SHA256SUMS.txt").write_text(text.replace(sums[PC], "0" * 64))
    refuse(tmp_path, tarballs, ChecksumsError, rf"^{PC}: its SHA-256 is {sums[PC]}")


def test_a_tarball_for_other_machines_than_are_let_in_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tarballs = write(tmp_path)
    arm64 = {"ipxe.arm64File": "/srv/arm64.efi"}
    run(tmp_path / "state", tarballs, **arm64)
    assert not [each for each in caplog.messages if "no system" in each]
    run(tmp_path / "state", tarballs[:1], **arm64)
    assert len([each for each in caplog.messages if "no system for machines that are let in" in each]) == 1


# --- from a forge


def publish(forge: Forge, *names: str) -> None:
    contents = {ARM: system_files(AARCH64), PC: system_files(X86_64)}
    forge.publish_archives({name: compress(build_tar(contents.get(name, {}))) for name in names})


def names_of(staged: Staged) -> list[str]:
    return [each.name for each in staged.release.systems]


def test_who_lets_arm64_in_gets_its_archive_too(forge: Forge, tmp_path: Path) -> None:
    publish(forge, PC, ARM)
    state = tmp_path / "state"
    assert names_of(fetch(state, forge)) == [SECOND]
    staged = fetch(state, forge, **{"ipxe.arm64File": "/srv/arm64.efi"})
    assert (staged.release.tag, names_of(staged)) == ("boot-v1", [FIRST, SECOND])
    assert check_whole(state) == staged.release
    # The sums were asked for once, and are one file.
    assert len(forge.asked(f"{DOWNLOADS}/SHA256SUMS.txt")) == 2
    again = fetch(state, forge, **{"ipxe.arm64File": "/srv/arm64.efi"})
    assert again.outcome is StageOutcome.UNCHANGED
    # What was staged alone is not downloaded again when another comes to it.
    assert [len(forge.asked(f"{DOWNLOADS}/{name}")) for name in (PC, ARM)] == [1, 1]


ARM64 = {"ipxe.arm64File": "/srv/arm64.efi"}


def test_a_system_that_goes_is_not_missed_by_the_others(forge: Forge, tmp_path: Path) -> None:
    publish(forge, PC, ARM)
    state = tmp_path / "state"
    both = fetch(state, forge, **ARM64).release
    alone = fetch(state, forge).release
    assert [each.boot.kernel for each in alone.systems] == ["kernel"]
    assert alone.systems[0].archive_sha256 == both.systems[1].archive_sha256
    assert len(forge.asked(f"{DOWNLOADS}/{PC}")) == 1
    assert check_whole(state) == alone
    # It stands by itself: a release that is removed takes nothing along.
    shutil.rmtree(state / "releases" / both.id)
    assert check_staged(ReleaseStore(state), alone.id).damage == ()


def test_what_is_damaged_closed_or_too_large_is_downloaded(
    forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(forge, PC, ARM)
    state = tmp_path / "state"
    alone = fetch(state, forge).release
    kernel = state / "releases" / alone.id / "kernel"
    staged = kernel.read_bytes()
    tag = kernel.stat().st_ctime_ns
    assert fetch(state, forge, **ARM64).release.id
    assert kernel.stat().st_ctime_ns == tag
    shutil.rmtree(state / "releases" / fetch(state, forge, **ARM64).release.id)
    kernel.write_bytes(bytes(len(staged)))
    both = fetch(state, forge, **ARM64).release
    assert len(forge.asked(f"{DOWNLOADS}/{PC}")) == 2
    assert check_whole(state) == both
    shutil.rmtree(state / "releases" / both.id)
    kernel.write_bytes(staged)
    with pytest.raises(ArchiveError, match="more than 2 entries"):
        fetch(state, forge, release_maxFiles=5, **ARM64)
    opened = reuse.open_regular

    def refuse_initrd(path: Path, **options: Any) -> int:
        if path.name == "initrd":
            raise FileError(f"{path}: cannot be read: Permission denied")
        return opened(path, **options)

    monkeypatch.setattr(reuse, "open_regular", refuse_initrd)
    assert fetch(state, forge, **ARM64).release.id == both.id
    assert len(forge.asked(f"{DOWNLOADS}/{PC}")) == 4


def test_a_large_archive_with_directories_is_copied_too(forge: Forge, tmp_path: Path) -> None:
    more = {f"more/{number % 3}/{number}": b"%d" % number for number in range(reuse.SYNC_EACH)}
    contents = {ARM: system_files(AARCH64), PC: {**system_files(X86_64), **more}}
    forge.publish_archives({name: compress(build_tar(files)) for name, files in contents.items()})
    state = tmp_path / "state"
    fetch(state, forge)
    both = fetch(state, forge, **ARM64).release
    assert check_whole(state) == both
    assert len(forge.asked(f"{DOWNLOADS}/{PC}")) == 1
    modes = {path.stat().st_mode & 0o777 for path in (state / "releases" / both.id / SECOND).rglob("*")}
    assert modes == {0o644, 0o755}


def test_a_release_without_an_archive_for_arm64_is_staged_and_told(
    forge: Forge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(forge, PC)
    caplog.set_level("INFO", logger="ectools")
    staged = fetch(tmp_path / "state", forge, **{"ipxe.arm64File": "/srv/arm64.efi"})
    assert names_of(staged) == [SECOND]
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.getMessage() == (
        "the release has no system for machines that are let in: they are told so, and boot nothing"
    )
    assert record.__dict__["fields"]["machines"] == ["arm64"]
    (told,) = [each for each in caplog.records if "no archive of this name" in each.getMessage()]
    assert told.__dict__["fields"]["artifact"] == "ec-runner-aarch64-netboot-*.tar.*"


def test_systems_are_asked_for_by_name(forge: Forge, tmp_path: Path) -> None:
    publish(forge, PC, ARM, f"{ARM}.sha256", "ec-runner-aarch64-netboot.iso")
    state = tmp_path / "state"
    assert names_of(fetch(state, forge, release_systems=[FIRST])) == [FIRST]
    assert names_of(fetch(state, forge, release_systems=[SECOND, FIRST])) == [FIRST, SECOND]
    with pytest.raises(ForgeError) as caught:
        fetch(state, forge, release_systems=["ec-publisher-x86_64-netboot"])
    assert "no archive is of the system ec-publisher-x86_64-netboot: it has " in caught.value.message
    publish(forge, PC, f"{SECOND}-again.tar.xz")
    with pytest.raises(ForgeError, match=rf"several archives are of the system {SECOND}: it has {PC}, "):
        fetch(state, forge, release_systems=[SECOND])


def test_two_archives_that_match_are_told_what_to_set(forge: Forge, tmp_path: Path) -> None:
    publish(forge, PC, ARM)
    with pytest.raises(ForgeError, match=r"several files match ec-runner-\*") as caught:
        fetch(tmp_path / "state", forge, release_artifact="ec-runner-*")
    assert caught.value.hint is not None
    assert "release.systems names several systems of one release" in caught.value.hint


def test_the_oldest_of_its_archives_is_how_old_a_release_is(forge: Forge, tmp_path: Path) -> None:
    publish(forge, PC, ARM)
    flags: dict[str, Any] = {"release_host": forge.url, "release_repo": "owner/name"}
    settings = build_settings(tmp_path / "state", release_systems=[SECOND, FIRST], **flags)
    source = find_source(settings.release, RETRY)
    assert [each.system for each in source.archives] == [FIRST, SECOND]
    assert (source.tag, source.is_signed, source.released_at) == ("boot-v1", False, None)
    assert source.wanted_sums is not None
    assert len(source.wanted_sums) == 2
    assert len(forge.asked(f"{API}/latest")) == 1
