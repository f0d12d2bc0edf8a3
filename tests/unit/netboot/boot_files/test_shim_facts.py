"""What a shim's bytes say of its second stage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.boot_binaries import ARM64, build_ipxe, build_shim, build_uefi_application

from ectools.netboot.boot_files.binary import inspect_binary
from ectools.netboot.boot_files.shim import ShimFacts, find_shim

# With Debian's: two backslashes; with openSUSE's: one; with the iPXE project's: none.
NAMES = ["\\\\grubx64.efi", "\\grub.efi", "ipxe.efi"]


@pytest.mark.parametrize("built_in", NAMES)
def test_the_second_stage_stands_beside_the_shim(built_in: str) -> None:
    shim = find_shim(build_shim(built_in))
    name = built_in.lstrip("\\")
    assert shim == ShimFacts(version="16.1", second_stage=name, by_own_name=False)
    assert shim.find_second_stage("x86_64-sb/shimx64.efi") == f"x86_64-sb/{name}"
    assert shim.find_second_stage("ec-ipxe.efi") == name
    assert shim.find_second_stage("x86_64-sb/shimx64.efi", from_option=True) == name


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("snponly-shimx64.efi", "snponly.efi"),
        ("arm64/intel-shimaa64.EFI", "arm64/intel.EFI"),
        ("a-shim/ipxe-shim.efi", "a-shim/ipxe.efi"),
        ("x-shim-shimx64.efi", "x-shim.efi"),
        # Too long an architecture, or no such end: the name built in.
        ("sb/ipxe-shimx86_64.efi", "sb/ipxe.efi"),
        ("sb/shimx64.efi", "sb/ipxe.efi"),
    ],
)
def test_the_fork_of_ipxe_takes_its_own_name(path: str, expected: str) -> None:
    shim = find_shim(build_shim("ipxe.efi", by_own_name=True))
    assert shim is not None
    assert shim.find_second_stage(path) == expected
    # Of a name that it does not see it makes nothing.
    assert shim.find_second_stage(path, from_option=True) == "ipxe.efi"
    plain = find_shim(build_shim("ipxe.efi"))
    assert plain is not None
    assert plain.find_second_stage(path) == f"{path.rpartition('/')[0]}/ipxe.efi".lstrip("/")


def test_a_shim_without_a_name_says_nothing_of_its_second_stage() -> None:
    shim = find_shim(build_uefi_application(body=b"UEFI SHIM\n$Version: \0"))
    assert shim == ShimFacts(version=None, second_stage=None, by_own_name=False)
    assert shim.find_second_stage("shimx64.efi") is None


def test_a_text_about_shims_is_none() -> None:
    assert find_shim(build_shim()[1:]) is None


def test_a_shim_is_no_ipxe_whoever_built_it() -> None:
    facts = inspect_binary(build_shim("ipxe.efi", machine=ARM64, by_own_name=True))
    assert (facts.machine, facts.is_ipxe, facts.title) == (ARM64, False, "shim 16.1")
    assert inspect_binary(build_uefi_application(body=b"UEFI SHIM\n$Version: \0")).title == "shim"
    assert inspect_binary(build_ipxe()).shim is None


def test_a_text_that_only_ends_like_a_name_is_none() -> None:
    long = "a" * 65 + ".efi"
    shim = find_shim(build_shim(f"EFI\\BOOT\\x.efi\0{long}\0grubx64.efi.bak\0right.efi"))
    assert shim is not None
    assert shim.second_stage == "right.efi"


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_mark_have_facts(data: bytes) -> None:
    shim = find_shim(b"MZUEFI SHIM\n$Version: " + data + ".efi\0".encode("utf-16-le"))
    assert shim is not None
    assert shim.find_second_stage("a/b.efi") != "a/b.efi" or shim.second_stage == "b.efi"
