"""What archives are called, and which of a release's systems a machine gets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import build_bzimage
from support.staged import make_release, make_systems

from ectools.netboot.kernel import KERNELS_BY_BUILD, KernelArchitecture
from ectools.netboot.protocols import Binary
from ectools.netboot.release.systems import (
    choose_system,
    find_foreign_tag,
    find_system_name,
    find_unserved,
    has_successor,
    is_archive_name,
    is_system_name,
    read_kernel_architecture,
)

if TYPE_CHECKING:
    from pathlib import Path

X86_64, AARCH64, I686 = KernelArchitecture.X86_64, KernelArchitecture.AARCH64, KernelArchitecture.I686
BUILDS = [*KERNELS_BY_BUILD, "", "vax"]


@pytest.mark.parametrize(
    ("archive", "tag", "expected"),
    [
        ("ec-runner-x86_64-netboot-boot-v2026.03.02.tar.gz", None, "ec-runner-x86_64-netboot"),
        ("ec-runner-x86_64-netboot-boot-v2026.03.02.tar.zst", "boot-v1", "ec-runner-x86_64-netboot"),
        ("ec-runner-aarch64-netboot.tgz", None, "ec-runner-aarch64-netboot"),
        # The first one, though the tag is called so too.
        ("a-netboot-b-netboot-c.tar.xz", None, "a-netboot"),
        ("release-boot-v1.tar.gz", "boot-v1", "release"),
        ("release-boot-v1.tar.gz", "v2", "release-boot-v1"),
        ("release.tar", None, "release"),
        ("release.zip", None, "release.zip"),
        ("", None, ""),
    ],
)
def test_a_system_is_called_as_its_archive(archive: str, tag: str | None, expected: str) -> None:
    assert find_system_name(archive, tag) == expected


@pytest.mark.parametrize(
    ("archive", "tag", "expected"),
    [
        ("ec-runner-x86_64-netboot-boot-v1.tar.gz", "boot-v1", None),
        ("ec-runner-x86_64-netboot-boot-v1.tar.gz", "boot-v2", "boot-v1"),
        ("ec-runner-x86_64-netboot-boot-v1-rc1.tar.gz", "boot-v1", "boot-v1-rc1"),
        ("ec-runner-x86_64-netboot-boot-v1.tar.gz", "boot-v1-rc1", "boot-v1"),
        # Its name says none.
        ("ec-runner-x86_64-netboot.tar.gz", "boot-v1", None),
        ("release-boot-v2.tar.gz", "boot-v1", None),
        # No file's name has a slash.
        ("a-netboot-images-v1.tar.gz", "images/v1", None),
        ("a-netboot-v1.tar.gz", "images/v1", None),
        ("a-netboot-v1.tar.gz", "images/v2", "v1"),
    ],
)
def test_the_tag_that_an_archives_name_says(archive: str, tag: str, expected: str | None) -> None:
    assert find_foreign_tag(archive, tag) == expected


@pytest.mark.parametrize(
    ("name", "is_archive"),
    [("a.tar.gz", True), ("a.tar", True), ("a.tzst", True), ("a.tar.gz.sha256", False), ("a.tar.sig", False)],
)
def test_what_is_an_archive(name: str, *, is_archive: bool) -> None:
    assert is_archive_name(name) is is_archive


@pytest.mark.parametrize("name", ["", "a/b", ".a", "-a", "a b", "\u00e4", "a" * 256, ".."])
def test_what_is_no_name_of_a_system(name: str) -> None:
    assert not is_system_name(name)
    assert is_system_name("ec-runner-x86_64-netboot")


SYSTEMS = st.dictionaries(
    st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.sampled_from(KernelArchitecture), min_size=2, max_size=5
)


@given(SYSTEMS, st.sampled_from(BUILDS), st.data())
def test_a_machine_gets_what_it_can_run_and_order_does_not_matter(
    names: dict[str, KernelArchitecture], build: str, data: st.DataObject
) -> None:
    systems = make_systems(names)[0].systems
    preferred = data.draw(st.permutations(sorted(names)))
    chosen = choose_system(systems, build, preferred)
    assert chosen == choose_system(data.draw(st.permutations(systems)), build, preferred)
    fitting = [each for each in systems if each.architecture in KERNELS_BY_BUILD.get(build, ())]
    assert (chosen is None) == (not fitting)
    if chosen is not None:
        assert chosen in fitting
        same = [each.name for each in fitting if each.architecture is chosen.architecture]
        assert chosen.name == min(same, key=preferred.index)


def test_bios_gets_the_64_bit_system_where_there_is_one() -> None:
    both = make_systems({"a": I686, "b": X86_64})[0].systems
    assert [getattr(choose_system(both, build), "name", None) for build in ("i386", "x86_64")] == ["b", "b"]
    only = make_release(architecture=I686).systems
    assert choose_system(only, "i386") == only[0]
    assert choose_system(only, "x86_64") is None


@pytest.mark.parametrize("build", BUILDS)
def test_one_whose_architecture_is_not_known_is_everybodys(build: str) -> None:
    systems = make_release().systems
    assert choose_system(systems, build) == systems[0]


def test_who_is_let_in_for_nothing() -> None:
    systems = make_release(architecture=AARCH64).systems
    assert find_unserved(systems, list(Binary)) == [Binary.BIOS, Binary.IA32, Binary.X86_64]
    # 32-bit UEFI starts no 64-bit kernel, as BIOS does.
    assert find_unserved(make_release(architecture=X86_64).systems, list(Binary)) == [
        Binary.IA32,
        Binary.ARM64,
    ]
    assert find_unserved(make_release(architecture=I686).systems, [Binary.IA32, Binary.BIOS]) == []
    assert find_unserved(make_release().systems, list(Binary)) == []


def test_what_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    assert read_kernel_architecture(kernel) is None
    assert read_kernel_architecture(tmp_path) is None
    kernel.write_bytes(build_bzimage())
    assert read_kernel_architecture(kernel) is X86_64


def test_what_a_machine_that_runs_finds_in_another_release() -> None:
    release, _ = make_systems({"arm": AARCH64, "pc": X86_64})
    arm, pc = release.systems
    assert has_successor([pc, arm], None, pc)
    assert has_successor([arm], None, None)
    assert not has_successor([arm], None, pc)
    assert not has_successor([pc], "tv", pc)
    assert has_successor([pc, arm], "arm", pc)
    assert has_successor([replace(arm, architecture=None)], None, pc)
    assert has_successor([arm], None, replace(pc, architecture=None))
